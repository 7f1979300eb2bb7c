"""The model behind `classify`: the only module of the service that touches TensorFlow."""

from __future__ import annotations

import logging
import math
import tempfile
import time
import timeit
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from app.errors import StartError
from app.model_card import IMAGE_SHAPE, ModelCard, read_verified

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

GOLDEN_TOLERANCE = 1e-3
"""Largest accepted difference between an answer and the card's: far above that of float32 on another processor."""

TIMED_PASSES = 5
"""The shortest of them counts, in processor time: whatever else runs on the machine can only make a pass longer."""

LONG_SECONDS = 0.005
"""A longer pass is timed only once, to keep the start short."""


class Answers(NamedTuple):
    """What a model says about a batch of images.

    Attributes:
        probabilities: float32 `[n, 10]`, each row summing to 1, in label order.
        familiarity: float32 `[n]`, the share of validation images that are less like what the model learnt, 0 to 1.
    """

    probabilities: NDArray[np.float32]
    familiarity: NDArray[np.float32]


class Classifier(Protocol):
    """Anything that turns images into class probabilities."""

    @property
    def card(self) -> ModelCard:
        """The card of the model that answers."""
        ...

    def classify(self, images: NDArray[np.uint8]) -> Answers:
        """Classify a batch.

        Args:
            images: uint8 `[n, 28, 28]`, garment bright on black.
        """
        ...

    def seconds(self, images: int) -> float:
        """Return the processor time, in seconds, of a batch of that many images; infinite if it was never measured."""
        ...


class SavedModel:
    """A SavedModel's `serving_default`, run in the caller's thread by a TensorFlow graph-mode session.

    A concrete function of eager mode takes about six times as long for one image with the `mlp`: it hands operations
    to another thread, and processes its arguments in Python. The public `Session.make_callable` does the latter too.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        """Load the graph and its weights without verifying the folder.

        Args:
            folder: The SavedModel.
            threads: Cores that one forward pass may use; None leaves the choice to TensorFlow. The first model
                loaded in a process decides for all.

        Raises:
            StartError: The folder is not a SavedModel, or its model lacks that signature.
        """
        tf = _tensorflow()
        from tensorflow.core.protobuf.config_pb2 import CallableOptions  # noqa: PLC0415  as TensorFlow itself

        options = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads or 0,
            inter_op_parallelism_threads=-1,  # only the caller's thread
        )
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph, config=options)
        try:
            with graph.as_default(), _no_advice():
                loaded = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
            signature = loaded.signature_def["serving_default"]
            call = CallableOptions(
                feed=[signature.inputs["images"].name], fetch=[signature.outputs[name].name for name in Answers._fields]
            )
            self._run = session._make_callable_from_options(call)  # noqa: SLF001  as Keras called it
        except (OSError, RuntimeError, KeyError, ValueError, tf.errors.OpError) as error:
            msg = f"{folder}: expected a SavedModel with serving_default, found {str(error).splitlines()[0]}"
            raise StartError(msg) from error

    def classify(self, images: NDArray[np.uint8]) -> Answers:
        """Classify uint8 `[n, 28, 28]`."""
        return Answers(*self._run(images))


class SavedModelClassifier:
    """A verified artifact, warmed up and checked against its golden set."""

    def __init__(self, folder: Path, batch_sizes: Iterable[int] = (1,), threads: int | None = None) -> None:
        """Verify, load and warm up the model, and replay its golden set.

        Args:
            folder: The artifact.
            batch_sizes: Each size is run and timed, so that no request pays for a graph's first call.
            threads: Cores that one forward pass may use; None leaves the choice to TensorFlow.

        Raises:
            StartError: The artifact is missing, changed or foreign, or does not answer as its card says.
        """
        self.card = read_verified(folder)
        if self.card.input_shape != IMAGE_SHAPE:
            msg = f"{folder}: expected a model of {IMAGE_SHAPE} images, found one of {self.card.input_shape}"
            raise StartError(msg)
        self._model = SavedModel(folder, threads)
        self._seconds = {size: self._warm_up(size) for size in batch_sizes}
        self._replay_golden_set(folder)

    def classify(self, images: NDArray[np.uint8]) -> Answers:
        """Classify uint8 `[n, 28, 28]`."""
        return self._model.classify(images)

    def seconds(self, images: int) -> float:
        """Return the shortest processor time of a batch of that many during warm-up; infinite if there was none."""
        return self._seconds.get(images, math.inf)

    def _warm_up(self, size: int) -> float:
        images = np.zeros((size, *IMAGE_SHAPE), np.uint8)
        self.classify(images)
        least = math.inf
        for _ in range(TIMED_PASSES):
            least = min(least, timeit.timeit(lambda: self.classify(images), timer=time.process_time, number=1))
            if least > LONG_SECONDS:
                break
        return least

    def _replay_golden_set(self, folder: Path) -> None:
        for number, example in enumerate(self.card.golden_set):
            received = np.append(*self.classify(example.pixels[None]))
            expected = np.append(example.probabilities, example.familiarity)
            if received.size != expected.size:
                msg = f"{folder}: expected a probability for each of the {len(self.card.labels)} labels on the card, "
                msg += f"found {received.size - 1}"
                raise StartError(msg)
            difference = float(np.abs(received - expected).max())
            if not difference <= GOLDEN_TOLERANCE:  # written this way, NaN is refused too
                msg = (
                    f"{folder}: expected the answer on the card for golden image {number}, within "
                    f"{GOLDEN_TOLERANCE}, found a difference of {difference:.4f}"
                )
                raise StartError(msg)


def _tensorflow() -> Any:  # noqa: ANN401  it ships no types
    """Import TensorFlow, even where nothing can be written.

    The import asks for the temporary folder, and Python raises an error if it cannot write to one. Nothing is written
    there afterwards.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = "/nowhere"
    import tensorflow as tf  # noqa: PLC0415  importing a module does no work, and this import takes seconds

    return tf


@contextmanager
def _no_advice() -> Iterator[None]:
    """Silence TensorFlow's advice to load a SavedModel in eager mode."""
    log = logging.getLogger("tensorflow")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
