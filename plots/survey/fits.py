"""Straight lines through points, and what is uncertain about them; pure."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from profiler.analysis.stats import quantile
from profiler.records.span import Span

_DRAWS = 500
_TAILS = (0.025, 0.975)
FEWEST = 4  # points of a line worth looking at


class Range(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    lo: float
    hi: float


class Line(NamedTuple):
    """A least-squares line."""

    intercept: float
    slope: float
    explained: float  # share of the variance

    def at(self, x: float) -> float:
        """Return the height at a place."""
        return self.intercept + self.slope * x


class Fit(NamedTuple):
    """The line of all points, with intervals."""

    line: Line
    slope: Range
    explained: Range


def line_through(xs: Sequence[float], ys: Sequence[float]) -> Line | None:
    """Return the least-squares line; None where all points are at one place."""
    n = len(xs)
    mean_x, mean_y = sum(xs) / n, sum(ys) / n
    spread_x = sum((x - mean_x) ** 2 for x in xs)
    spread_y = sum((y - mean_y) ** 2 for y in ys)
    if spread_x <= 0 or spread_y <= 0:
        return None
    both = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return Line(mean_y - both / spread_x * mean_x, both / spread_x, both**2 / (spread_x * spread_y))


def fit(xs: Sequence[float], figures: Sequence[Span], scale: Callable[[float], float] = float) -> Fit | None:
    """Return the line with intervals: models are drawn again with replacement, each at a value within its range.

    None for too few points. The draws depend on nothing but the arguments.

    Args:
        scale: applied to the figures, like a logarithm.
    """
    if len(xs) < FEWEST:
        return None
    whole = line_through(xs, [scale(figure.value) for figure in figures])
    if whole is None:
        return None
    source = random.Random("survey")
    lines = []
    for _ in range(_DRAWS):
        chosen = source.choices(range(len(xs)), k=len(xs))
        ys = [scale(source.uniform(figures[each].lo, figures[each].hi)) for each in chosen]
        if (line := line_through([xs[each] for each in chosen], ys)) is not None:
            lines.append(line)
    return Fit(
        whole,
        _range(whole.slope, [line.slope for line in lines]),
        _range(whole.explained, [line.explained for line in lines]),
    )


def ratio(first: Span, second: Span) -> Span:
    """Return how many times the second the first is; the range is that of both ends, so it holds at least as often."""
    kinds = (first.kind, second.kind)
    kind = next(kind for kind in ("estimate", "min-max", "interval") if kind in kinds)
    return Span(first.value / second.value, first.lo / second.hi, first.hi / second.lo, kind)


def _range(value: float, draws: Sequence[float]) -> Range:
    lo, hi = (quantile(draws, tail) for tail in _TAILS)
    return Range(value, min(lo, value), max(hi, value))
