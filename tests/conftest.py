"""What holds for every test."""

import gc
import os
from collections.abc import Iterator

import pytest

from quant.base.progress import watch


def pytest_configure() -> None:
    """Keep each worker of pytest-xdist, with the processes of its tests, on a CPU of its own where the system can.

    Threads of llama.cpp spin while they wait for one whose CPU another test has: ten seconds instead of three.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[int(worker.removeprefix("gw")) % len(cpus)]})


@pytest.fixture(scope="module", autouse=True)
def _small_heap() -> None:
    """Exclude what is in memory now from garbage collection.

    Each repetition collects garbage before it is timed, which takes a third of a second with this whole suite loaded.
    """
    gc.freeze()


@pytest.fixture
def reported() -> Iterator[list[str]]:
    """The lines that the test's work reports."""
    lines: list[str] = []
    with watch(say=lines.append):
        yield lines
