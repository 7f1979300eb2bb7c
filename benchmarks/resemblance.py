"""`python -m benchmarks.resemblance FOLDER`: are photographs that resemble those learnt from right more often?

Photographs of one collection are from few homes, so the same blankets and hangers appear among those learnt from and
those held out. The held-out photographs of each folder are split in half by their highest cosine similarity to any
photograph that was learnt from, in ImageNet's features. An unusual garment resembles little too, so the difference is
not the homes' alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.preprocessing import StandardScaler, normalize

from app.model_card import FolderMetrics
from benchmarks.photos import SCORE_COLUMNS, known_photos, score_row
from training.markdown import table
from training.pictures.photos import CLASSES_OF, decode_photo, list_photos
from training.recogniser.network import Backbone, export, published_weights
from training.trust.photo_metrics import answer_photos

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.pictures.photos import Photo


def main() -> None:
    """Print the table."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.resemblance", description=__doc__)
    classifier, held_out = known_photos(command)
    others = set(list_photos(held_out[0].path.parents[1])) - set(held_out)
    learnt = sorted(photo for photo in others if CLASSES_OF[photo.folder])
    if not learnt:
        command.error("expected photographs that were learnt from beside those held out, found none")
    similarity = similarities(features(held_out), features(learnt))
    more = above_median(similarity, [photo.folder for photo in held_out])
    answered = answer_photos(classifier.classify, held_out)
    print(
        table(
            ("photographs", *SCORE_COLUMNS, "right by the 28x28 network alone"),
            (
                (*score_row(name, FolderMetrics(n=int(half.sum()), right=int(answered.right[half].sum()))), alone)
                for name, half in (("less similar", ~more), ("more similar", more))
                for alone in [f"{answered.right_alone[half].mean():.1%}"]
            ),
        )
    )


def features(photos: Sequence[Photo]) -> NDArray[np.float32]:
    """Return ImageNet's features of each photograph, float32 `[n, k]`."""
    with tempfile.TemporaryDirectory() as folder:
        backbone = Backbone(Path(folder) / "backbone.onnx")
        export(published_weights(), backbone.path)
        return np.stack([backbone.look_at(np.asarray(decode_photo(photo).convert("RGB"))) for photo in photos])


def similarities(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the highest cosine similarity of each row of `some` to any row of `others`, `[n]`.

    Each feature is first standardised over `others`, or the few that vary most would decide.
    """
    scale = StandardScaler().fit(others)
    return np.asarray((normalize(scale.transform(some)) @ normalize(scale.transform(others)).T).max(axis=1))


def above_median(values: NDArray[np.float32], folders: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each value is above the median of its folder, `[n]`: so both halves hold the same kinds."""
    kinds = np.array(folders)
    medians = {kind: np.median(values[kinds == kind]) for kind in set(folders)}
    return np.array([value > medians[kind] for value, kind in zip(values, folders, strict=True)])


if __name__ == "__main__":
    main()
