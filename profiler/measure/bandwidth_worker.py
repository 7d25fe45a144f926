"""The process that measures a device's ceilings. Run as `python -m profiler.measure.bandwidth_worker`.

Every pass reads the same bytes, far more than the caches hold. Two kinds of kernel are timed at each thread count:

    read       an OR over 64-bit words by numpy, which releases the interpreter's lock, in as many Python threads: one
               load and one vector operation per word, no multiplication
    mat-vec    ggml's own kernel of a weight type, in ggml's thread pool; F32 does the least with each byte

Neither is faster everywhere. Measured in turns on a busy x86-64 server, the OR and ggml's F32 mat-vec agreed within
10 % with one thread, and were no slower than numpy's sum, maximum and dot and the C library's memchr; with two threads
the OR was faster, since ggml's threads wait for each other when other programs run. So the ceiling is the highest
figure that any kernel reached.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from profiler.device.bandwidth_record import READ, KernelRun
from quant.base.worker import serve

# The types that files consist of, by ggml's names. F32 mainly shows the bandwidth: few weights are stored so.
TYPES = ("f32", "f16", "q8_0", "q4_0", "q4_K", "q5_K", "q6_K")
_WIDE = 4096  # weights in a row: a width that all types divide, and common among models
_LEAST_PASSES, _MIN_PASSES, _MAX_PASSES = 3, 7, 50
_ENOUGH_NS = 600_000_000  # per kernel and thread count, when there are passes enough
_TOO_LONG_NS = 3_000_000_000  # per kernel and thread count: fewer passes suffice on a slow or busy machine


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure."""

    threads: tuple[int, ...]
    n_bytes: int
    repack: bool


def passes(work: Callable[[], object], clock: Callable[[], int]) -> tuple[int, ...]:
    """Time passes until there are enough of them, after a warm-up pass."""
    work()
    times: list[int] = []
    while _goes_on(len(times), sum(times)):
        start_ns = clock()
        work()
        times.append(clock() - start_ns)
    return tuple(times)


def _goes_on(n_passes: int, took_ns: int) -> bool:
    if n_passes < _MIN_PASSES:
        return n_passes < _LEAST_PASSES or took_ns < _TOO_LONG_NS
    return n_passes < _MAX_PASSES and took_ns < _ENOUGH_NS


def work_on(job: Job, clock: Callable[[], int] = time.perf_counter_ns) -> list[KernelRun]:
    """Measure every kernel at every thread count."""
    return [*_reads(job, clock), *_mat_vecs(job, clock)]


def _reads(job: Job, clock: Callable[[], int]) -> Iterator[KernelRun]:
    import numpy as np

    words = np.ones(job.n_bytes // 8, dtype=np.uint64)  # written, so that every page is mapped
    for n_threads in job.threads:
        parts = np.array_split(words, n_threads)
        if n_threads == 1:
            times_ns = passes(lambda: np.bitwise_or.reduce(words), clock)
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                times_ns = passes(lambda pool=pool, parts=parts: _reduced(pool, parts), clock)  # type: ignore[misc]
        yield KernelRun(kernel=READ, n_threads=n_threads, n_bytes=words.nbytes, times_ns=times_ns)


def _reduced(pool: ThreadPoolExecutor, parts: list[Any]) -> list[Any]:
    import numpy as np

    return list(pool.map(np.bitwise_or.reduce, parts))


def _mat_vecs(job: Job, clock: Callable[[], int]) -> Iterator[KernelRun]:
    from profiler.engine.matmul import MatMul, Weights

    for name in TYPES:
        one = Weights(name, _WIDE, 1)
        mat_vec = MatMul(Weights(name, _WIDE, max(1, job.n_bytes // one.n_bytes)), repack=job.repack)
        try:
            for n_threads in job.threads:
                mat_vec.set_threads(n_threads)
                yield KernelRun(
                    kernel=name.upper(),
                    n_threads=n_threads,
                    n_bytes=mat_vec.weights.n_bytes,
                    n_weights=mat_vec.weights.n_weights,
                    buffer=mat_vec.buffer,
                    times_ns=passes(mat_vec.run, clock),
                )
        finally:
            mat_vec.close()


if __name__ == "__main__":
    serve(Job, work_on)
