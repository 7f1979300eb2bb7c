"""Runs the networks that look at a photograph itself; their files lie beside this one."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, cast

import cv2
import numpy as np
import onnxruntime

from app.errors import StartError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray


class OnnxNetwork:
    """A network in a file, which several threads may run at the same time, each doing all its work itself.

    Attributes:
        path: An ONNX file that takes `pixels`, float32 `[1, 3, side, side]`, -1 to 1, and gives float32 `[1, ...]`.
        side: Pixels along each side of its input.
        purpose: What it does, for messages.
        remedy: What to do if a model's card names another network, for messages.
    """

    side: ClassVar[int]
    purpose: ClassVar[str]
    remedy: ClassVar[str]

    def __init__(self, path: Path) -> None:
        """Remember the file, which is read once, when it is first needed."""
        self.path = path

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        """Pickle the path alone, to send the network to another process."""
        return type(self), (self.path,)

    @cached_property
    def _file(self) -> bytes:
        return self.path.read_bytes()

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the service converts as many pictures at a time as there are cores
        options.log_severity_level = 4  # errors are raised as well
        return onnxruntime.InferenceSession(self._file, options, providers=["CPUExecutionProvider"])

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self._file).hexdigest()

    def require(self, digest: str | None) -> None:
        """Load the network and run it once, so that a missing, damaged or wrong file is found now.

        Args:
            digest: SHA-256 of the file that a model's card names; None if it names none.

        Raises:
            StartError: The file is missing or damaged, or is not the one that the card names.
        """
        try:
            self.look_at(np.zeros((self.side, self.side, 3), np.uint8))
        except Exception as error:  # ONNX Runtime's errors have no class of their own
            msg = f"{self.path}: expected the network that {self.purpose}, found none that can be read"
            raise StartError(msg) from error
        if digest not in {None, self.digest}:
            msg = f"{self.path}: expected the network that {self.purpose} which the model's card names, found another. "
            msg += self.remedy
            raise StartError(msg)

    def look_at(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network on a picture.

        Args:
            pixels: uint8 `[height, width, 3]`; the aspect ratio is lost.

        Returns:
            The output of the network, float32, without its first axis.
        """
        (output,) = self._session.run(None, {"pixels": self.prepared(pixels)})
        return cast("NDArray[np.float32]", output[0])

    def prepared(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn a picture into the input of the network, float32 `[1, 3, side, side]`, -1 to 1."""
        small = cv2.resize(pixels, (self.side, self.side), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(127.5) - 1
