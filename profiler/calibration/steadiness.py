"""How long a pass takes, and how steady the device is meanwhile. Only a worker process imports this."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from profiler.analysis.stats import median
from profiler.engine.matmul import MatMul, Weights
from profiler.records.calibration import NodeTime, ProductTime, Yardstick

_ENOUGH_NS = 20_000_000  # of passes, where there are enough of them
_PASSES, _SLOW_PASSES, _MOST_PASSES = 5, 3, 200  # the least, the least of slow ones, the most
_SLOW_NS = 30_000_000  # of a pass
_YARDSTICK = Weights("q8_0", 1024, 1024)
_YARDSTICK_TOKENS, _YARDSTICK_PASSES = 8, 9
_LASTS_S = 0.2  # before the yardstick is timed again


def time_of(run: Callable[[], None], clock: Callable[[], int] = time.perf_counter_ns) -> float:
    """Return the nanoseconds of a pass: the median of several, after one that does not count."""
    run()
    times: list[int] = []
    while _goes_on(times):
        times.append(_pass_ns(run, clock))
    return float(median([float(each) for each in times]))


def _pass_ns(run: Callable[[], None], clock: Callable[[], int] = time.perf_counter_ns) -> int:
    start_ns = clock()
    run()
    return clock() - start_ns


def _goes_on(times_ns: Sequence[int]) -> bool:
    n, total_ns = len(times_ns), sum(times_ns)
    if n < _SLOW_PASSES:
        return True
    least = _SLOW_PASSES if total_ns > n * _SLOW_NS else _PASSES
    return n < least or (n < _MOST_PASSES and total_ns < _ENOUGH_NS)


Timed = TypeVar("Timed", ProductTime, NodeTime)


class Steadiness:
    """Times a yardstick, and sets other times right by it."""

    def __init__(self) -> None:
        self._product = MatMul(_YARDSTICK)
        self._product.use(_YARDSTICK_TOKENS)
        self._timed_at_s: dict[int, float] = {}
        self._last_ns: dict[int, float] = {}
        self.found: list[Yardstick] = []

    def now_ns(self, n_threads: int) -> float:
        """Return what the yardstick takes now."""
        if time.monotonic() - self._timed_at_s.get(n_threads, -_LASTS_S) >= _LASTS_S:
            self._product.set_threads(n_threads)
            self._product.run()
            passes_ns = [float(_pass_ns(self._product.run)) for _ in range(_YARDSTICK_PASSES)]
            self._product.rest()
            self._last_ns[n_threads] = median(passes_ns)
            self._timed_at_s[n_threads] = time.monotonic()
            self.found.append(Yardstick(n_threads=n_threads, ns=self._last_ns[n_threads]))
        return self._last_ns[n_threads]

    def set_right(self, timed: Timed, yardstick_ns: float) -> Timed:
        """Return what would have been timed while the yardstick takes what it takes on the median."""
        usual_ns = median([each.ns for each in self.found if each.n_threads == timed.n_threads])
        return msgspec.structs.replace(timed, ns=timed.ns * usual_ns / yardstick_ns)

    def close(self) -> None:
        """Free the yardstick."""
        self._product.close()
