"""Weights are repacked where requested, unless this build crashed in its repacked kernels."""

from pathlib import Path

import pytest

from profiler.measure import repack_probe
from profiler.measure.repack_probe import ADVICE, repack_in_force, repacking_works


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(repack_probe, "build_stamp", lambda: "first")
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("requested", "works", "repacked", "advised"),
    [
        (True, True, True, False),
        (True, False, False, True),
        (False, False, False, False),
        (False, True, False, False),
    ],
)
def test_weights_are_repacked_where_requested_unless_it_crashed(
    monkeypatch: pytest.MonkeyPatch,
    reported: list[str],
    requested: bool,
    works: bool,
    repacked: bool,
    advised: bool,
) -> None:
    monkeypatch.setattr(repack_probe, "_try_repacking", lambda: works)
    assert repack_in_force(requested) is repacked
    assert reported == ([ADVICE] if advised else [])


def test_it_is_tried_once_per_build_and_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = [False, True]
    monkeypatch.setattr(repack_probe, "_try_repacking", lambda: tried.pop(0))
    assert (repacking_works(), repacking_works()) == (False, False)
    monkeypatch.setattr(repack_probe, "build_stamp", lambda: "second")
    assert repacking_works() is True


def test_a_damaged_answer_is_tried_again(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    (cache / "repack").mkdir(parents=True)
    (cache / "repack" / "first.json").write_bytes(b"may")
    monkeypatch.setattr(repack_probe, "_try_repacking", lambda: True)
    assert repacking_works() is True
