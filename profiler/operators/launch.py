"""Observe a file in a process of its own."""

from pathlib import Path

from profiler.measure.launch import run_in_child
from profiler.operators.records import ObservationSettings
from profiler.operators.worker import ObserveAnswer, ObserveJob
from profiler.records.config import RunConfig


def observe_in_child(
    path: Path, settings: ObservationSettings, config: RunConfig, *, timeout_s: float | None
) -> ObserveAnswer:
    """Return what was observed, or the failure that ended it."""
    job = ObserveJob(path=str(path), config=config, settings=settings)
    return run_in_child("profiler.operators.worker", job, ObserveAnswer, path.parent, timeout_s=timeout_s)
