"""A figure with the range that it lies in."""

from typing import Literal

import msgspec

SpanKind = Literal[
    "interval",  # a 95 % interval of the median
    "min-max",  # the smallest and largest round, where an interval has too few
    "estimate",  # a 90 % range of a figure that was not measured
]


class Span(msgspec.Struct, frozen=True, gc=False):
    """A figure, the ends of its range, and what kind of range that is."""

    value: int | float
    lo: int | float
    hi: int | float
    kind: SpanKind
    min_max: tuple[int | float, int | float] | None = None  # beside an interval: the smallest and largest round

    def overlaps(self, other: "Span") -> bool:
        """Return whether the ranges share a value: such figures are a tie and are not ranked."""
        return self.lo <= other.hi and other.lo <= self.hi

    @property
    def interval_lo(self) -> float | None:
        """The lower end; None where there is no interval but a range of few rounds."""
        return None if self.kind == "min-max" else self.lo

    @property
    def interval_hi(self) -> float | None:
        """The upper end; None where there is no interval but a range of few rounds."""
        return None if self.kind == "min-max" else self.hi

    @property
    def least(self) -> float | None:
        """The smallest round."""
        return self._ends[0]

    @property
    def most(self) -> float | None:
        """The largest round."""
        return self._ends[1]

    @property
    def _ends(self) -> tuple[float | None, float | None]:
        if self.kind == "min-max":
            return self.lo, self.hi
        return self.min_max or (None, None)
