"""MLServer with adaptive batching and two parallel workers, over the Open Inference Protocol.

Its settings are environment variables, which systems.py sets.

Source:
    https://docs.seldon.ai/mlserver/user-guide/adaptive-batching and /user-guide/parallel-inference.
"""

from typing import List  # noqa: UP035  MLServer finds a codec for this one only

import numpy as np
from mlserver import MLModel
from mlserver.codecs import decode_args
from model import Model, decode


class Classifier(MLModel):
    """Takes pictures as bytes."""

    async def load(self) -> bool:
        """Load the model, in each worker."""
        self.model = Model()
        return True

    @decode_args
    async def predict(self, pictures: List[bytes]) -> np.ndarray:  # noqa: UP006  as above
        """Classify a batch, which MLServer has collected."""
        return np.array(self.model.classify([decode(picture) for picture in pictures]), np.float32)
