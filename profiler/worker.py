"""One process: a cell as JSON in, what was measured as JSON out. The parent never opens a model.

Run as `python -m profiler.worker`. The job comes on stdin, which stays open: when it closes, the parent is gone and so
is this process. The answer goes to the real stdout; whatever libraries print there goes to stderr.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from profiler.cell import RunConfig
from profiler.engine import EngineError
from profiler.measure import Measured, Probes, measure
from profiler.record import Conditions, Failure, Memory


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker is to do."""

    path: str
    config: RunConfig
    reps: int
    seed: int
    engine: str = "llama"  # "llama" | "fake"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of the two."""

    measured: Measured | None = None
    failure: Failure | None = None


def work(job: Job) -> Answer:
    """Do a job; a refusal of the engine is an answer."""
    try:
        return Answer(measured=_measure(job))
    except EngineError as error:
        return Answer(failure=Failure(kind=error.kind, message=str(error)))
    except MemoryError:
        return Answer(failure=Failure(kind="memory", message="Python had no memory left"))


def _measure(job: Job) -> Measured:
    if job.engine == "fake":
        from profiler.engine.fake import FakeClock, FakeEngine

        clock = FakeClock()
        probes = Probes(memory=Memory, conditions=Conditions)
        return measure(
            FakeEngine(clock),
            Path(job.path),
            job.config,
            reps=job.reps,
            seed=job.seed,
            clock=clock,
            probes=probes,
        )
    from profiler.conditions import ConditionsReader
    from profiler.engine.llama import LlamaEngine
    from profiler.memory import read_memory

    engine = LlamaEngine()
    probes = Probes(memory=read_memory, conditions=ConditionsReader(job.config.cores).read)
    try:
        return measure(
            engine,
            Path(job.path),
            job.config,
            reps=job.reps,
            seed=job.seed,
            clock=time.perf_counter_ns,
            probes=probes,
        )
    finally:
        engine.close()


def _prepare_process() -> BinaryIO:
    """Leave Ctrl-C to the parent, leave no core dump, be the first to go when memory runs out; give the real stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900")
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answer


def _die_with_parent(stdin: BinaryIO) -> None:
    def wait() -> None:
        # Blocks without the interpreter's lock and without waking, so it costs the measurement nothing.
        os.read(stdin.fileno(), 1)
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Read a job, do it, answer."""
    stdout = _prepare_process()
    stdin = sys.stdin.buffer
    job = msgspec.json.decode(stdin.readline(), type=Job)
    _die_with_parent(stdin)
    answer = work(job)
    stdout.write(msgspec.json.encode(answer))
    stdout.flush()
    # llama.cpp's destructors at exit add nothing and can crash on a Mac.
    os._exit(0)


if __name__ == "__main__":
    main()
