"""One process that opens a model and looks at its nodes. Run as `python -m profiler.operators.worker`."""

import time
from pathlib import Path

import msgspec

from profiler.engine import EngineError
from profiler.measure.worker import Answer
from profiler.operators.collect import collect
from profiler.operators.records import Look, Seen
from profiler.records.config import RunConfig
from profiler.records.record import Failure
from quant.base.child import serve


class LookJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker is to look at."""

    path: str
    config: RunConfig
    look: Look


class LookAnswer(Answer, frozen=True, kw_only=True):
    """What was seen, or the failure."""

    seen: Seen | None = None


def work(job: LookJob) -> LookAnswer:
    """Do a job; a refusal of the engine is an answer."""
    try:
        return LookAnswer(seen=_look(job))
    except EngineError as error:
        return LookAnswer(failure=Failure(kind=error.kind, message=str(error)))
    except MemoryError:
        return LookAnswer(failure=Failure(kind="memory", message="Python had no memory left"))


def _look(job: LookJob) -> Seen:
    from profiler.engine.llama import LlamaEngine
    from profiler.operators.observer import ObservedEngine

    plain = LlamaEngine()
    plain.load(Path(job.path), job.config)
    plain.open_context(job.config)
    observed = ObservedEngine(plain, time.perf_counter_ns)
    observed.open_context(job.config)
    prefill, decode = collect(plain, observed, job.look, n_threads=job.config.n_threads, clock=time.perf_counter_ns)
    in_force = plain.in_force()
    observed.close()
    plain.close()
    return Seen(prefill=prefill, decode=decode, flash_attn=in_force.flash_attn, backends=in_force.backends)


if __name__ == "__main__":
    serve(LookJob, work)
