"""BentoML with adaptive batching and two workers; a batchable endpoint takes and returns lists, here of one item.

Source:
    https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html
"""

import bentoml
import numpy as np
from model import MOST_IMAGES, WORKERS, Model
from PIL.Image import Image


@bentoml.service(workers=WORKERS, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Classifier:
    """Takes pictures as fields of a form."""

    def __init__(self) -> None:
        """Load the model, in each worker."""
        self.model = Model()

    @bentoml.api(batchable=True, max_batch_size=MOST_IMAGES)
    def classify(self, pictures: list[Image]) -> list[dict[str, list[float]]]:
        """Classify a batch of pictures, which BentoML has opened with Pillow."""
        images = [np.asarray(picture.convert("L")) for picture in pictures]
        return [{"probabilities": one} for one in self.model.classify(images)]
