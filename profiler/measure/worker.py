"""The process that measures one cell, once. Run as `python -m profiler.measure.worker`."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from profiler.engine import EngineError, as_failure
from profiler.measure.loop import Measured, Probes, measure
from profiler.records.config import RunConfig
from profiler.records.energy import EnergyReading
from profiler.records.failure import Failure
from quant.base.worker import Send, serve_with_progress


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker is to measure."""

    path: str
    config: RunConfig
    reps: int
    seed: int
    work_buffer_offset_bytes: int | None = None  # modulo 64; see profiler/engine/memory_layout.py
    energy: bool = False  # read the energy counters and the clock around decode
    sent_ns: int | None = None  # when the parent started the process, by time.monotonic_ns, one clock for all


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Either what was measured or the failure."""

    measured: Measured | None = None
    failure: Failure | None = None
    start_ns: int | None = None  # from `sent_ns` until the model is opened


def work(job: Job, send: Send) -> Answer:
    """Do a job; a failure of the engine is an answer. Each minute of a sustained load but the last is sent before."""
    try:
        measured, start_ns = _measure(job, send)
        return Answer(measured=measured, start_ns=start_ns)
    except (EngineError, MemoryError) as error:
        return Answer(failure=as_failure(error))


def _measure(job: Job, send: Send) -> tuple[Measured, int | None]:
    from profiler.device.affinity import bind
    from profiler.device.os.system import this_system

    if job.config.cores:
        bind(job.config.cores)  # before llama.cpp makes any thread
    from profiler.device.memory.reader import read_memory
    from profiler.engine.llama import LlamaEngine

    start_ns: int | None = None

    def with_cores(measured: Measured) -> Measured:
        if not job.config.cores:
            return measured
        n_cores = this_system().physical_of(job.config.cores)
        in_force = msgspec.structs.replace(measured.in_force, n_cores=n_cores)
        return msgspec.structs.replace(measured, in_force=in_force)

    engine = LlamaEngine(work_buffer_offset_bytes=job.work_buffer_offset_bytes)
    probes = Probes(
        memory=lambda: read_memory(Path(job.path)),
        # Where there are more CPUs than threads, the clock is that of the fastest: the others may idle at a low one.
        conditions=partial(
            this_system().conditions, job.config.cores, n_busy=max(job.config.n_threads, job.config.n_threads_batch)
        ),
        energy=_energy_reader() if job.energy else None,
        on_minute=lambda measured: send(Answer(measured=with_cores(measured), start_ns=start_ns)),
    )
    start_ns = None if job.sent_ns is None else time.monotonic_ns() - job.sent_ns
    try:
        measured = measure(
            engine,
            Path(job.path),
            job.config,
            reps=job.reps,
            seed=job.seed,
            clock=time.perf_counter_ns,
            probes=probes,
        )
        return with_cores(measured), start_ns
    finally:
        engine.close()


def _energy_reader() -> Callable[[], EnergyReading]:
    from profiler.device.energy.find import counters

    read = counters()
    return lambda: EnergyReading(at_ns=time.perf_counter_ns(), counters_uj=read())


if __name__ == "__main__":
    serve_with_progress(Job, work)
