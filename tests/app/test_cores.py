from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from app.cores import available_cores, cores_of_a_worker, worker_count
from app.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

AFFINITY = len(os.sched_getaffinity(0))


def test_without_a_quota_the_affinity_mask_counts(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == AFFINITY
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_cores(tmp_path) == AFFINITY


@pytest.mark.parametrize(
    ("quota", "cores"), [(50_000, 1), (100_000, 1), (150_000, min(2, AFFINITY)), (6_400_000, AFFINITY)]
)
def test_a_cgroup_v2_quota_limits_the_cores_rounded_up(tmp_path: Path, quota: int, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
    assert available_cores(tmp_path) == cores


@pytest.mark.parametrize("limited", ["", "system.slice", "system.slice/fashion.service"])
@pytest.mark.parametrize("own", ["/system.slice/fashion.service", "/system.slice/fashion.service/worker (deleted)"])
def test_the_lowest_quota_of_the_own_group_and_its_ancestors_limits_the_cores(
    tmp_path: Path, limited: str, own: str
) -> None:
    groups, membership = tmp_path / "cgroup", tmp_path / "self"
    (groups / "system.slice" / "fashion.service").mkdir(parents=True)
    (groups / "cpu.max").write_text("6400000 100000\n")
    (groups / "system.slice" / "cpu.max").write_text("max 100000\n")
    (groups / limited / "cpu.max").write_text("100000 100000\n")
    membership.write_text(f"1:cpu:/elsewhere\n0::{own}\n")
    assert available_cores(groups, membership) == 1


def test_a_quota_of_another_group_does_not_limit_the_cores(tmp_path: Path) -> None:
    groups, membership = tmp_path / "cgroup", tmp_path / "self"
    for group in (tmp_path, groups, groups / "other.slice"):
        group.mkdir(exist_ok=True)
        (group / "cpu.max").write_text(f"{'max' if group == groups else '100000'} 100000\n")
    membership.write_text("0::/own.slice\n")
    assert available_cores(groups, membership) == AFFINITY


@pytest.mark.parametrize("lines", [None, "", "1:cpu:/elsewhere\n", "0::/../../elsewhere\n", "0::/\xff\n"])
def test_the_root_group_limits_the_cores_if_the_own_group_is_unknown(tmp_path: Path, lines: str | None) -> None:
    groups, membership = tmp_path / "cgroup", tmp_path / "self"
    groups.mkdir()
    (groups / "cpu.max").write_text("100000 100000\n")
    if lines is not None:
        membership.write_bytes(lines.encode("latin-1"))
    assert available_cores(groups, membership) == 1


@pytest.mark.parametrize(("quota", "cores"), [(100_000, 1), (-1, AFFINITY)], ids=["one core", "none"])
def test_a_cgroup_v1_quota_limits_the_cores_too_if_there_is_one(tmp_path: Path, quota: int, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(tmp_path) == cores


def test_auto_means_one_worker_per_core() -> None:
    assert worker_count(Settings(workers="auto")) == available_cores()
    assert worker_count(Settings(workers=3)) == 3


def test_the_cores_are_shared_among_the_workers_and_each_has_at_least_one() -> None:
    assert cores_of_a_worker(Settings()) == available_cores()
    assert cores_of_a_worker(Settings(workers="auto")) == 1
    assert cores_of_a_worker(Settings(workers=10**6)) == 1
