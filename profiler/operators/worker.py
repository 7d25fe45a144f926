"""One process that opens a model and times its nodes. Run as `python -m profiler.operators.worker`."""

import time
from pathlib import Path

import msgspec

from profiler.engine import EngineError, as_failure
from profiler.measure.worker import Answer
from profiler.operators.collect import observe
from profiler.operators.records import Observation, ObservationSettings
from profiler.records.config import RunConfig
from quant.base.worker import serve


class ObserveJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker observes."""

    path: str
    config: RunConfig
    settings: ObservationSettings


class ObserveAnswer(Answer, frozen=True, kw_only=True):
    """What was observed, or the failure."""

    observation: Observation | None = None


def work(job: ObserveJob) -> ObserveAnswer:
    """Do a job; a failure of the engine is an answer."""
    try:
        return ObserveAnswer(observation=_observe(job))
    except (EngineError, MemoryError) as error:
        return ObserveAnswer(failure=as_failure(error))


def _observe(job: ObserveJob) -> Observation:
    from profiler.engine.llama import LlamaEngine
    from profiler.operators.observer import ObservedEngine

    plain = LlamaEngine()
    plain.load(Path(job.path), job.config)
    plain.open_context(job.config)
    observed = ObservedEngine(plain, time.perf_counter_ns)
    observed.open_context(job.config)
    prefill, decode = observe(plain, observed, job.settings, n_threads=job.config.n_threads, clock=time.perf_counter_ns)
    in_force = plain.in_force()
    observed.close()
    plain.close()
    return Observation(prefill=prefill, decode=decode, flash_attn=in_force.flash_attn, backends=in_force.backends)


if __name__ == "__main__":
    serve(ObserveJob, work)
