"""What --cores takes, and that the whole worker is bound, or reports why not."""

import os
import sys
from pathlib import Path

import pytest

from profiler.device import affinity as module
from profiler.device.affinity import bind, read_cores
from profiler.engine import EngineError
from profiler.sweep.grid import Axes, read_sweep
from profiler.sweep.thread_choice import check_axes
from quant.base.errors import UserError

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process")


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board whose CPUs 2 and 3 are switched off."""
    monkeypatch.setattr(module, "cpu_numbers", lambda: {0, 1, 4, 5})


def test_cores_are_those_that_are_there(usable: None) -> None:
    assert read_cores("4-5") == (4, 5)
    with pytest.raises(UserError, match=r"^--cores 2: this process may use the CPUs 0-1,4-5 only"):
        read_cores("1-2")


def test_a_mac_binds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="macOS does not let a program bind"):
        read_cores("0")


@pytest.mark.parametrize(("text", "cores"), [("[0, 4]", (0, 4)), ('"4-5"', (4, 5)), ("4", (4,))])
def test_a_sweep_file_says_cores_as_the_command_line_does(
    text: str, cores: tuple[int, ...], usable: None, tmp_path: Path
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f"[[sweep]]\ncores = {text}\n")
    assert read_sweep(path, Axes(threads=(1,)))[0].cores == cores
    path.write_text("[[sweep]]\ncores = [2]\n")
    with pytest.raises(UserError, match="--cores 2"):
        read_sweep(path, Axes(threads=(1,)))


def test_the_process_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    one = min(before)
    try:
        bind((one,))
        assert os.sched_getaffinity(0) == {one}
    finally:
        os.sched_setaffinity(0, before)
    with pytest.raises(EngineError, match="the system does not bind threads to 1023"):
        bind((1023,))
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    with pytest.raises(EngineError, match=r"binds threads to 0-1, not to 1$"):
        bind((1,))


def test_layers_for_the_gpu_need_the_gpu() -> None:
    with pytest.raises(UserError, match="--ngl chooses layers for the GPU; add --device gpu"):
        check_axes(Axes(threads=(1,), ngl=(8,)), zipped=False)
    check_axes(Axes(threads=(1,), ngl=(8,), device=("gpu",)), zipped=False)


@pytest.mark.parametrize(
    ("cpus", "text"), [((0, 1, 2, 3), "0-3"), ((8, 0, 2, 1), "0-2,8"), ((5,), "5"), ((0, 2), "0,2"), ((), "")]
)
def test_cpu_numbers_are_written_as_the_kernel_does(cpus: tuple[int, ...], text: str) -> None:
    assert module.cpu_ranges(cpus) == text
