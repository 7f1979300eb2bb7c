"""mosec, whose front end is written in Rust, with dynamic batching and two workers.

Source:
    https://mosecorg.github.io/mosec/reference/interface.html
"""

from typing import Any

import numpy as np
from model import MOST_IMAGES, WORKERS, Model, decode
from mosec import Server, Worker
from numpy.typing import NDArray


class Classifier(Worker):
    """Takes one picture as the body."""

    def __init__(self) -> None:
        """Load the model, in each worker."""
        self.model = Model()

    def deserialize(self, data: bytes) -> NDArray[np.uint8]:
        """Decode one picture."""
        return decode(data)

    def forward(self, data: list[NDArray[np.uint8]]) -> list[dict[str, Any]]:
        """Classify a batch."""
        return [{"probabilities": one} for one in self.model.classify(data)]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Classifier, num=WORKERS, max_batch_size=MOST_IMAGES, max_wait_time=1)  # ms; 10 by default
    server.run()
