from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING

import pytest

from training.config import DEFAULTS, TrainingConfig, native_precision

if TYPE_CHECKING:
    from pathlib import Path


def test_every_field_is_documented() -> None:
    documentation = inspect.getdoc(TrainingConfig) or ""
    assert [name for name in TrainingConfig.__dataclass_fields__ if f"\n    {name}: " not in documentation] == []


def test_a_config_cannot_be_changed_but_overridden() -> None:
    config = DEFAULTS["cnn"]
    with pytest.raises(FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]  # the mistake under test
    assert config.override(seed=5, epochs=None) == config.override(seed=5)
    assert config.override(seed=5).seed == 5


def test_runs_of_different_configs_have_different_names() -> None:
    names = {DEFAULTS["cnn"].override(seed=seed).run_name for seed in range(10)} | {DEFAULTS["mlp"].run_name}
    assert len(names) == 11
    assert DEFAULTS["cnn"].run_name.startswith("cnn-")


def test_patience_and_averaging_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"received 8 and 0\.9"):
        DEFAULTS["mlp"].override(averaging=0.9)


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu avx512f avx512_bf16", "mixed_bfloat16"), ("fpu amx_bf16", "mixed_bfloat16"), ("fpu avx2", "float32")],
)
def test_bfloat16_is_chosen_only_where_the_processor_has_it(tmp_path: Path, flags: str, precision: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert native_precision(tmp_path / "cpuinfo") == precision
    assert native_precision(tmp_path / "none") == "float32"
