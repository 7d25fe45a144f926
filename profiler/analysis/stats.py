"""The statistics that everything else reads: medians, order-statistic intervals, outliers. Pure Python, exact.

A bootstrap of the median covers only about 77 % at n = 3; the interval between two order statistics of n = 6 covers
96.9 % whatever the distribution. So six rounds are the default, and under six there is no interval.
"""

import math
import struct
import sys
from collections.abc import Sequence
from functools import cache
from itertools import chain

import msgspec

LOOK_LEVEL = 0.965  # confidence of each look of a stopping rule; sweep/stopping.py says why


class Interval(msgspec.Struct, frozen=True):
    """Two order statistics around the median and the probability with which they cover it."""

    lo: float
    hi: float
    coverage: float


def median(values: Sequence[float]) -> float:
    """Give the middle value, or the mean of the two middle ones."""
    if not values:
        raise ValueError("a median needs at least one value")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return float(ordered[middle]) if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def quantile(values: Sequence[float], fraction: float) -> float:
    """Give the quantile by linear interpolation between the closest ranks (Hyndman and Fan's type 7, as numpy's)."""
    return _quantile_of_ordered(sorted(values), fraction)


def quantiles_ns(parts: Sequence[Sequence[int]], fractions: Sequence[float]) -> list[float]:
    """Give quantiles of the durations of several lists together, by numpy where it is loaded: seven times as fast.

    Raises:
        ValueError: there is no duration.
    """
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        try:
            packed = b"".join([struct.pack(f"{len(part)}q", *part) for part in parts])
        except struct.error:  # centuries, which a file may hold
            pass
        else:
            values = numpy.frombuffer(packed, dtype=numpy.int64)
            ranks = sorted({rank for fraction in fractions for rank in _ranks(len(values), fraction)[:2]})
            values = numpy.partition(values, ranks)
            return [_quantile_of_ordered(values, fraction) for fraction in fractions]
    ordered = sorted(chain.from_iterable(parts))
    return [_quantile_of_ordered(ordered, fraction) for fraction in fractions]


def _quantile_of_ordered(ordered: Sequence[float], fraction: float) -> float:
    """Give the quantile of values of which those at the ranks concerned are where they belong."""
    below, above, share = _ranks(len(ordered), fraction)
    low, high = ordered[below], ordered[above]
    return float(low + (high - low) * share)


def _ranks(n: int, fraction: float) -> tuple[int, int, float]:
    """Give the ranks between which a quantile of n values lies, and how far it is from the lower."""
    if not n:
        raise ValueError("a quantile needs at least one value")
    place = fraction * (n - 1)
    below = math.floor(place)
    return below, min(below + 1, n - 1), place - below


@cache
def _rank(n: int, confidence: float) -> tuple[int, float] | None:
    """Give the largest k such that the k-th smallest and the k-th largest cover the median, and the coverage.

    Source: the sign test's interval; coverage = 1 - 2 · P(Binomial(n, 1/2) < k).
    """
    best = None
    below = 0
    for k in range(1, n // 2 + 1):
        below += math.comb(n, k - 1)
        coverage = 1 - 2 * below / 2**n
        if coverage < confidence:
            break
        best = (k, coverage)
    return best


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Give an interval that covers the median with at least `confidence`; None where n is too small for one."""
    found = _rank(len(values), confidence)
    if found is None:
        return None
    k, coverage = found
    ordered = sorted(values)
    return Interval(ordered[k - 1], ordered[-k], coverage)


def adjusted_interval(values: Sequence[float], target: float | None) -> Interval | None:
    """Give the interval to print: of a cell under a stopping rule the one of its look, else the plain one."""
    return median_interval(values) if target is None else median_interval(values, LOOK_LEVEL)


def outliers(values: Sequence[float]) -> list[int]:
    """Give the positions of Tukey's outliers: more than 1.5 interquartile ranges outside the quartiles.

    They are labelled, never dropped.
    """
    if len(values) < 4:
        return []
    ordered = sorted(values)
    lower, upper = _quantile_of_ordered(ordered, 0.25), _quantile_of_ordered(ordered, 0.75)
    reach = 1.5 * (upper - lower)
    if lower - reach <= ordered[0] and ordered[-1] <= upper + reach:
        return []
    return [place for place, value in enumerate(values) if not lower - reach <= value <= upper + reach]


def overlap(one: Interval, other: Interval) -> bool:
    """Tell whether two intervals share a value: such cells are a tie and are not ranked."""
    return one.lo <= other.hi and other.lo <= one.hi
