"""The statistics that everything else reads: medians, order-statistic intervals, outliers. Pure Python, exact.

A bootstrap of the median covers only about 77 % at n = 3; the interval between two order statistics of n = 6 covers
96.9 % whatever the distribution. So six rounds are the default, and under six there is no interval.
"""

import math
import sys
from collections.abc import Sequence
from functools import cache
from itertools import chain

import msgspec


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


def sorted_ns(parts: Sequence[Sequence[int]]) -> Sequence[int]:
    """Put the durations of several lists in order, by numpy where it is loaded already: three times as fast."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return sorted(chain.from_iterable(parts))
    try:
        ordered: list[int] = numpy.sort(numpy.fromiter(chain.from_iterable(parts), dtype=numpy.int64)).tolist()
    except OverflowError:  # centuries, which a file may hold
        return sorted(chain.from_iterable(parts))
    return ordered


def quantile(values: Sequence[float], fraction: float) -> float:
    """Give the quantile by linear interpolation between the closest ranks (Hyndman and Fan's type 7, as numpy's)."""
    return quantile_of_sorted(sorted(values), fraction)


def quantile_of_sorted(ordered: Sequence[float], fraction: float) -> float:
    """Give the same of values that are in order already, of which several quantiles are wanted."""
    if not ordered:
        raise ValueError("a quantile needs at least one value")
    place = fraction * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


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


def outliers(values: Sequence[float]) -> list[int]:
    """Give the positions of Tukey's outliers: more than 1.5 interquartile ranges outside the quartiles.

    They are labelled, never dropped.
    """
    if len(values) < 4:
        return []
    lower, upper = quantile(values, 0.25), quantile(values, 0.75)
    reach = 1.5 * (upper - lower)
    return [place for place, value in enumerate(values) if not lower - reach <= value <= upper + reach]


def overlap(one: Interval, other: Interval) -> bool:
    """Tell whether two intervals share a value: such cells are a tie and are not ranked."""
    return one.lo <= other.hi and other.lo <= one.hi
