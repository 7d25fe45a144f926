"""Sample a power sensor in a thread of the parent while a worker measures."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from profiler.device.energy.meter import Meter
from profiler.records.energy import EnergyTrace


def sample(
    read_watts: Callable[[], float | None],
    clock: Callable[[], int],
    wait: Callable[[], bool],
    samples: list[tuple[int, float]],
) -> None:
    """Append samples until `wait` returns True; a reading that fails leaves a gap.

    The time of a sample is the middle of its reading, which may take long: powermetrics averages over half a second.
    """
    while True:
        start_ns = clock()
        found = read_watts()
        if found is not None:
            samples.append(((start_ns + clock()) // 2, found))
        if wait():
            return


@contextmanager
def tracing(meter: Meter) -> Iterator[Callable[[], EnergyTrace]]:
    """Sample during the block, if the source is a sampled one; yield a function that returns the trace so far."""
    over = threading.Event()
    samples: list[tuple[int, float]] = []
    read_watts, interval_ms = meter.read_watts, meter.interval_ms

    def work() -> None:
        assert read_watts is not None
        assert interval_ms is not None
        interval_s = interval_ms / 1000
        sample(read_watts, clock, lambda: over.wait(interval_s), samples)

    clock = time.perf_counter_ns  # the worker's clock too: CLOCK_MONOTONIC, or the Mac's absolute time
    thread = threading.Thread(target=work, daemon=True) if read_watts else None
    if thread:
        thread.start()

    def trace() -> EnergyTrace:
        seen = tuple(samples)  # at once: the thread goes on
        return EnergyTrace(
            source=meter.source,
            covers=meter.covers,
            interval_ms=interval_ms,
            ranges_uj=meter.ranges_uj,
            at_ns=tuple(at_ns for at_ns, _ in seen),
            watts=tuple(watts for _, watts in seen),
        )

    try:
        yield trace
    finally:
        over.set()
        if thread:
            thread.join()
