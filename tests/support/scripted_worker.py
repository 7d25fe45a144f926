"""Rounds on the scripted engine, in this process or in a worker of their own.

As a process: python -m tests.support.scripted_worker, which is what profiler.measure.worker is with llama.cpp.
"""

from pathlib import Path

from profiler.engine import EngineError
from profiler.measure.launch import run_worker
from profiler.measure.loop import Probes, measure
from profiler.measure.worker import Answer, Job
from profiler.records.failure import Failure
from profiler.records.round import Conditions, Memory
from quant.base.worker import serve
from tests.support.scripted_engine import FakeClock, FakeEngine


def work(job: Job) -> Answer:
    """Do a job; the path is that of the script."""
    clock = FakeClock()
    try:
        measured = measure(
            FakeEngine(clock),
            Path(job.path),
            job.config,
            reps=job.reps,
            seed=job.seed,
            clock=clock,
            probes=Probes(memory=Memory, conditions=Conditions),
        )
        return Answer(measured=measured)
    except EngineError as error:
        return Answer(failure=Failure(kind=error.kind, message=str(error)))


def run_scripted(job: Job, *, timeout_s: float | None = 60) -> Answer:
    """Run a job in a process."""
    return run_worker(job, timeout_s=timeout_s, module=__name__)


if __name__ == "__main__":
    serve(Job, work)
