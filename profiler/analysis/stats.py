"""The statistics that everything else reads: medians, order-statistic intervals, outliers. Exact.

A bootstrap of the median covers only about 77 % at n = 3; the interval between two order statistics of n = 6 covers
96.9 % whatever the distribution. So six rounds are the default, and under six there is no interval.
"""

import math
import struct
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from profiler.records.span import Span

INTERVAL_ROUNDS = 6  # the fewest values whose median has a 95 % interval
LOOK_LEVEL = 0.965  # confidence of each look of a stopping rule; see sweep/stopping.py


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two middle ones."""
    if not values:
        raise ValueError("a median needs at least one value")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return float(ordered[middle]) if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def quantile(values: Sequence[float], fraction: float) -> float:
    """Return the quantile by linear interpolation between the closest ranks (Hyndman and Fan's type 7, as numpy's)."""
    return _quantile_of_ordered(sorted(values), fraction)


def quantiles_ns(parts: Sequence[Sequence[int]], fractions: Sequence[float]) -> list[float]:
    """Return quantiles of the durations of several lists together.

    Raises:
        ValueError: there is no duration.
    """
    import numpy as np

    together = list(chain.from_iterable(parts))
    values = np.frombuffer(struct.pack(f"{len(together)}q", *together), dtype=np.int64)  # half the time of np.array
    ordered: Any = np.sort(values)  # a tenth of the time of sorted: a cell has thousands of steps
    return [_quantile_of_ordered(ordered, fraction) for fraction in fractions]


def _quantile_of_ordered(ordered: Sequence[float], fraction: float) -> float:
    """Return the quantile of values of which those at the ranks concerned are where they belong."""
    below, above, share = _ranks(len(ordered), fraction)
    low, high = ordered[below], ordered[above]
    return float(low + (high - low) * share)


def _ranks(n: int, fraction: float) -> tuple[int, int, float]:
    """Return the ranks between which a quantile of n values lies, and how far it is from the lower."""
    if not n:
        raise ValueError("a quantile needs at least one value")
    place = fraction * (n - 1)
    below = math.floor(place)
    return below, min(below + 1, n - 1), place - below


@cache
def rank_of(n: int, confidence: float) -> tuple[int, float] | None:
    """Return the largest k so that k-th smallest and k-th largest cover the median, and how surely; None for small n.

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


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Span | None:
    """Return the median with an interval that covers it with at least `confidence`; None for too few values."""
    found = rank_of(len(values), confidence)
    if found is None:
        return None
    k, _ = found
    ordered = sorted(values)
    return Span(median(values), ordered[k - 1], ordered[-k], "interval", (ordered[0], ordered[-1]))


def adjusted_interval(values: Sequence[float], target: float | None) -> Span | None:
    """Return the interval to print: of a cell under a stopping rule the one of its look, else the plain one."""
    return median_interval(values) if target is None else median_interval(values, LOOK_LEVEL)


def span_of(values: Sequence[float], target: float | None = None) -> Span | None:
    """Return the median with its interval, or with the smallest and largest value where these are too few for one."""
    if not values:
        return None
    return adjusted_interval(values, target) or Span(median(values), min(values), max(values), "min-max")


def outliers(values: Sequence[float]) -> list[int]:
    """Return the positions of Tukey's outliers: more than 1.5 interquartile ranges outside the quartiles.

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
