"""Our measuring loop in a process that waits for its turn before each repetition (taking_turns.py)."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from profiler.measure.loop import Measured, Probes, measure
from profiler.measure.worker import Answer, Job
from profiler.records.round import Conditions
from quant.base.text import decoded, encoded
from tests.parity.taking_turns import TURNS, Program


def program(job: Job) -> Program:
    """Return the command that does a job."""
    return Program([sys.executable, "-m", "tests.parity.turn_worker", encoded(job).decode()], {})


def measured_by(job: Job, written: str) -> Measured:
    """Return what the command measured, from what it wrote.

    Raises:
        SystemExit: the memory layout was not the job's.
    """
    measured = decoded(written.encode(), Answer).measured
    assert measured is not None
    asked = job.work_buffer_offset_bytes
    if asked is not None and measured.in_force.layout != str(asked):
        raise SystemExit(f"{job.path}: the work buffer cannot be placed at {asked}")
    return measured


def times_ns(measured: Measured) -> list[float]:
    """Return the time of each repetition of a job with either a prompt or generated tokens."""
    return [float(sample.prefill_ns or sum(sample.decode_ns)) for sample in measured.samples]


def _turns() -> Callable[[], Conditions]:
    """Return what the loop calls before and after each repetition: it waits, before."""
    waiting, called = (os.open(path, os.O_RDWR) for path in os.environ[TURNS].split(":"))
    n_calls = 0

    def conditions() -> Conditions:
        nonlocal n_calls
        if n_calls % 2 == 0:
            os.write(waiting, b"1")
            os.read(called, 1)
        n_calls += 1
        return Conditions()

    return conditions


def main() -> None:
    """Do the job that the argument holds; write the answer."""
    from profiler.device.memory.reader import read_memory
    from profiler.engine.llama import LlamaEngine

    job = decoded(sys.argv[1].encode(), Job)
    path = Path(job.path)
    engine = LlamaEngine(work_buffer_offset_bytes=job.work_buffer_offset_bytes)
    probes = Probes(memory=lambda: read_memory(path), conditions=_turns())
    measured = measure(
        engine, path, job.config, reps=job.reps, seed=job.seed, clock=time.perf_counter_ns, probes=probes
    )
    engine.close()
    sys.stdout.write(encoded(Answer(measured=measured)).decode())


if __name__ == "__main__":
    main()
