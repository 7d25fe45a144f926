"""Speed against threads of synthetic devices, and an exact answer to compare a search with."""

import math
import random
from collections.abc import Callable, Sequence

from profiler.sweep.thread_search import ThreadLimits

NOISE = 0.02
REPS = 3


def little(n: int, *, fast: int, speed: float, alike: bool) -> float:
    """Return the arithmetic of n threads on `fast` cores and slower ones of a relative speed.

    alike: every thread gets the same share of the work, so that the slowest core sets the pace.
    """
    if n <= fast:
        return float(n)
    return n * speed if alike else fast + (n - fast) * speed


def bound(work: float, limit: float, n: int, crowd: float = 0.0) -> float:
    """Return a rate that memory limits: what arithmetic and bandwidth allow, less a loss for each thread beyond."""
    rate = (work**-8 + limit**-8) ** (-1 / 8)
    return rate * (1 - crowd) ** max(0.0, n - limit)


def big_little_prefill(n: int) -> float:
    return 20 * little(n, fast=4, speed=0.4, alike=False)


def big_little_decode(n: int) -> float:
    return 5 * bound(little(n, fast=4, speed=0.3, alike=True), 4.2, n)


def eight_prefill(n: int) -> float:
    return 30 * n / (1 + 0.04 * (n - 1))


def eight_decode(n: int) -> float:
    return 8 * bound(n, 4.5, n, crowd=0.03)


def hybrid_prefill(n: int) -> float:
    return 40 * little(n, fast=8, speed=0.5, alike=False) / (1 + 0.01 * (n - 1))


def hybrid_prefill_alike(n: int) -> float:
    return 40 * little(n, fast=8, speed=0.5, alike=True) / (1 + 0.005 * (n - 1))


def hybrid_decode(n: int) -> float:
    return 9 * bound(little(n, fast=8, speed=0.5, alike=True), 6.0, n, crowd=0.01)


Curve = Callable[[int], float]
DEVICES: dict[str, tuple[ThreadLimits, dict[str, Curve]]] = {
    "big.LITTLE 4+4": (ThreadLimits(8, 4), {"prefill": big_little_prefill, "decode": big_little_decode}),
    "eight cores": (ThreadLimits(8, 8), {"prefill": eight_prefill, "decode": eight_decode}),
    "hybrid 8P+12E": (ThreadLimits(20, 8), {"prefill": hybrid_prefill, "decode": hybrid_decode}),
    "hybrid, even shares": (ThreadLimits(20, 8), {"prefill": hybrid_prefill_alike, "decode": hybrid_decode}),
    "two cores": (ThreadLimits(2, 2), {"prefill": eight_prefill, "decode": eight_decode}),
}


class Device:
    """Measure a curve with noise, and count how often."""

    def __init__(self, curves: dict[str, Curve], seed: int, noise: float = NOISE) -> None:
        self._curves, self._source, self._noise = curves, random.Random(seed), noise
        self.measured: list[tuple[int, str]] = []

    def __call__(self, n_threads: int, kind: str) -> Sequence[float]:
        self.measured.append((n_threads, kind))
        rate = self._curves[kind](n_threads)
        return [rate * math.exp(self._source.gauss(0, self._noise)) for _ in range(REPS)]


def loss(curve: Curve, most: int, chosen: int) -> float:
    """Return how much slower a choice is than the best of all counts, as a share."""
    return 1 - curve(chosen) / max(curve(n) for n in range(1, most + 1))
