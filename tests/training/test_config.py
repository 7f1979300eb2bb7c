from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields
from typing import TYPE_CHECKING

import pytest

from training.config import DEFAULTS, DistillationConfig, Distortion, PhotoConfig, TrainingConfig, native_precision
from training.segmenter.config import SegmenterConfig

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("config", [TrainingConfig, PhotoConfig, DistillationConfig, Distortion, SegmenterConfig])
def test_every_field_is_documented(config: type) -> None:
    documentation = inspect.getdoc(config) or ""
    assert [field.name for field in fields(config) if f"\n    {field.name}: " not in documentation] == []


def test_a_config_is_frozen_but_can_be_overridden() -> None:
    config = DEFAULTS["cnn"]
    with pytest.raises(FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]  # the mistake under test
    assert config.override(seed=5, epochs=None) == config.override(seed=5)
    assert config.override(seed=5).seed == 5


def test_teachers_and_label_smoothing_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="no label smoothing beside teachers"):
        DEFAULTS["cnn"].override(distillation=DistillationConfig(("one",)))


def test_distillation_requires_a_teacher() -> None:
    with pytest.raises(ValueError, match="expected at least one teacher"):
        DistillationConfig(())


def test_the_photographs_take_their_share_of_a_batch() -> None:
    assert DEFAULTS["cnn"].photos_a_batch == 0
    assert DEFAULTS["cnn"].override(batch_size=50, photos=PhotoConfig(share=0.3)).photos_a_batch == 15


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"epochs": -3}, {"seed": -1}])
def test_a_run_without_epochs_or_with_a_negative_seed_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected one epoch at least and a seed of 0 or more"):
        DEFAULTS["cnn"].override(**wrong)


@pytest.mark.parametrize("name", ["warmup", "momentum", "weight_decay"])
def test_adam_refuses_what_it_would_ignore(name: str) -> None:
    with pytest.raises(ValueError, match=rf"adam without .* received {{'{name}': 0\.1}}"):
        DEFAULTS["mlp"].override(**{name: 0.1})
    assert DEFAULTS["cnn"].override(**{name: 0.1}).optimizer == "sgd"


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu avx512f avx512_bf16", "mixed_bfloat16"), ("fpu amx_bf16", "mixed_bfloat16"), ("fpu avx2", "float32")],
)
def test_bfloat16_is_chosen_only_where_the_processor_has_it(tmp_path: Path, flags: str, precision: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert native_precision(tmp_path / "cpuinfo") == precision
    assert native_precision(tmp_path / "none") == "float32"
