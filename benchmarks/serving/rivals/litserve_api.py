"""LitServe with batching, two workers and its fast queue.

Source:
    https://lightning.ai/docs/litserve/features/batching; an HTTP server for each worker is its default.
"""

import sys

import litserve
import numpy as np
from model import MOST_IMAGES, WORKERS, Model, decode
from numpy.typing import NDArray


class Api(litserve.LitAPI):
    """Takes one picture as the field `file` of a form."""

    def setup(self, device: str) -> None:  # noqa: ARG002  LitServe passes it
        """Load the model, in each worker."""
        self.model = Model()

    def decode_request(self, request) -> NDArray[np.uint8]:  # noqa: ANN001  it would ask FastAPI for a form's schema
        """Decode one picture."""
        return decode(request["file"].file.read())

    def batch(self, inputs: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Leave the images in a list; the model stacks them."""
        return inputs

    def predict(self, x: list[NDArray[np.uint8]]) -> list[list[float]]:
        """Classify a batch."""
        return self.model.classify(x)

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        """Leave the answers in a list, one for each image."""
        return output

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """Return the answer for one picture."""
        return {"probabilities": output}


if __name__ == "__main__":
    api = Api(max_batch_size=MOST_IMAGES, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=WORKERS, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
