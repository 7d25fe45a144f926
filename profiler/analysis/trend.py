"""Does a rate change over a cell's rounds? A straight line through the rounds' log rates, and Student's test of it.

A round counts with the mean of its repetitions' log rates: the mean of three uses more of them than the median does,
and the round stays the unit, so that what differs from process to process is noise and not a trend.
"""

import itertools
import math
import operator
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

_LEAST_P, LEAST_CHANGE = 0.05, 0.025
# Up to here all orders of the rounds are tried, which needs no assumption; so four rounds can never show a trend.
_EXACT_ROUNDS = 7
_FEWEST_ROUNDS = 3


class Trend(msgspec.Struct, frozen=True):
    """How far a rate moved from the first round to the last, as a share, and how often chance does as much."""

    change: float
    p_value: float

    @property
    def counts(self) -> bool:
        """Whether chance alone does so in under 5 % of rates, and whether it is enough to matter."""
        return abs(self.change) > LEAST_CHANGE and self.p_value < _LEAST_P


def find_trend(rounds: Sequence[Sequence[float]], *, least_change: float = 0.0) -> Trend | None:
    """Fit the rates of a cell's repetitions, round by round in the order of time; None under three rounds.

    A change that is not above `least_change` gets the p-value 1 without a test, since it would not matter.

    What it can do with 10 rounds of 3 repetitions that scatter by 2 %: a drift of 5 % over the cell is caught in 97 %
    of cells (in over 99 %, where prefill and decode both drift), and of rates without any drift 2 % count, so at most
    4 % of cells with two rates. At a larger scatter, where a change of 2.5 % is little, that is 5 % of rates. With one
    repetition a round the same drift is caught in 62 %; no test of 10 such values can catch more than 72 %. A scatter
    that the repetitions of a round share weakens the test and does not mislead it. Measured by
    tests/benchmarks/coverage.py.
    """
    values = [sum(map(math.log, rates)) / len(rates) for rates in rounds if rates]
    n = len(values)
    if n < _FEWEST_ROUNDS:
        return None
    if min(values) == max(values):
        return Trend(0.0, 1.0)
    places, squares = _places(n)
    slope = sum(map(operator.mul, places, values)) / squares
    change = math.expm1(slope * (n - 1))
    if abs(change) <= least_change:
        return Trend(change, 1.0)
    if n <= _EXACT_ROUNDS:
        return Trend(change, _share_of_orders(places, values, abs(slope * squares)))
    middle = sum(values) / n
    rest = sum((value - middle - slope * place) ** 2 for place, value in zip(places, values, strict=True))
    if rest == 0:
        return Trend(change, 0.0)
    return Trend(change, student_p_value(slope / math.sqrt(rest / (n - 2) / squares), n - 2))


def _share_of_orders(places: Sequence[float], values: Sequence[float], product: float) -> float:
    """Return the share of all orders of the values whose line is at least as steep."""
    least = product * (1 - 1e-9)  # the same order must count, however its sum is rounded
    if least <= 0:
        return 1.0
    return float((abs(_orders(len(values)) @ values) >= least).mean())


@cache
def _places(n: int) -> tuple[tuple[float, ...], float]:
    """Return n rounds' places around their middle, and the sum of their squares."""
    places = tuple(place - (n - 1) / 2 for place in range(n))
    return places, sum(place * place for place in places)


@cache
def _orders(n: int) -> Any:
    """Return all orders of n rounds' places around their middle, one in a row of an array."""
    import numpy as np

    return np.array(list(itertools.permutations(range(n)))) - (n - 1) / 2


def student_p_value(t: float, freedom: int) -> float:
    """Return the two-sided p-value of Student's t at a whole number of degrees of freedom.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    cosine = math.cos(angle)
    first = 2 if freedom % 2 else 1
    term, total = (cosine if freedom % 2 else 1.0), 0.0
    for step in range(first, freedom, 2):
        total += term
        term *= step / (step + 1) * cosine**2
    inside = math.sin(angle) * total
    return max(0.0, 1 - ((angle + inside) * 2 / math.pi if freedom % 2 else inside))
