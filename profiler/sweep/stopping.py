"""When a cell has been measured well enough: `--target 2%`, without making its interval lie.

Stopping as soon as the interval looks narrow makes it lie, since it is narrow most easily where it is wrong. So there
are only four looks, and at each the interval is taken at a higher level than the 95 % that it is given as:

    rounds                      6        10       13       18
    between order statistics    1, 6     2, 9     3, 11    5, 14
    covers, looked at once      96.9 %   97.9 %   97.8 %   96.9 %

How many of n rounds lie below the median is a fair coin's count, whatever the distribution. So the probability that all
four intervals cover the median can be computed exactly: 93.2 %. No rule of stopping, and no distribution, gets below
that; on simulated normal, skewed, heavy-tailed and bimodal series this rule covers 95.4 to 97.0 %, and 93.1 % where
the median lies in a gap between two equal modes (tests/benchmarks/coverage.py). With more than 18 rounds it is 91 %
that is sure.
"""

import math
from collections.abc import Sequence

import msgspec

from profiler.analysis.rates import rates_of
from profiler.analysis.stats import LOOK_LEVEL, median, median_interval
from profiler.records.record import Round

LOOKS = (6, 10, 13, 18)
MOST_ROUNDS = LOOKS[-1]  # the default of --rounds under --target
FEWEST_ROUNDS = LOOKS[0]


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """That a cell has reached its target: at which look, and the relative half-width of each of its rates."""

    target: float
    n_rounds: int
    half_widths: dict[str, float]


def looks_of(most: int) -> tuple[int, ...]:
    """Give the numbers of rounds at which a cell of at most `most` rounds is looked at; the last is `most` itself.

    There are never more than four: each look costs coverage.
    """
    if most <= MOST_ROUNDS:
        return (*(look for look in LOOKS if look < most), most)
    return (LOOKS[0], *(round(most * look / MOST_ROUNDS) for look in LOOKS[1:]))


def sure_coverage(looks: Sequence[int]) -> float:
    """Give the probability that the intervals of all these looks cover the median: exact, for any continuous one.

    The rounds below the median are counted along; a path ends where a look's interval misses.
    """
    paths, seen = {0: 1.0}, 0
    for look in looks:
        k = _rank(look)
        step = [math.comb(look - seen, more) / 2 ** (look - seen) for more in range(look - seen + 1)]
        after: dict[int, float] = {}
        for below, probability in paths.items():
            for more, share in enumerate(step):
                after[below + more] = after.get(below + more, 0.0) + probability * share
        paths = {below: probability for below, probability in after.items() if k <= below <= look - k}
        seen = look
    return sum(paths.values())


def _rank(n: int) -> int:
    """Give which of n values, counted from either end, bounds the interval of a look; 0 where n is too small."""
    interval = median_interval(range(1, n + 1), LOOK_LEVEL)
    return round(interval.lo) if interval else 0


class Stopping:
    """Which cells have met a target. Rounds are told in the order of time; a cell that met it once stays so."""

    def __init__(self, target: float, most: int) -> None:
        self.target = target
        self._looks = looks_of(most)
        self._rates: dict[str, dict[int, dict[str, float]]] = {}  # by cell and round
        self.met: dict[str, Met] = {}

    def add(self, record: Round) -> Met | None:
        """Count one round that went well, and look if it is time; give what was seen when the target is met now."""
        key = record.cell.key
        if record.status != "ok":
            return None
        of_cell = self._rates.setdefault(key, {})
        of_cell[record.round] = _rates(record)
        rounds = list(of_cell.values())
        if key in self.met or len(rounds) not in self._looks:
            return None
        half_widths = {}
        for name in rounds[0]:
            half_width = relative_half_width([rates[name] for rates in rounds if name in rates])
            if half_width is None or half_width > self.target:
                return None
            half_widths[name] = half_width
        if not half_widths:
            return None
        self.met[key] = Met(target=self.target, n_rounds=len(rounds), half_widths=half_widths)
        return self.met[key]

    def withdraw(self, key: str, number: int) -> None:
        """Forget a round that is to be measured again; its cell has then not met the target."""
        self._rates.get(key, {}).pop(number, None)
        self.met.pop(key, None)


def relative_half_width(values: Sequence[float]) -> float | None:
    """Give half the width of a look's interval as a share of the median; None where there is no interval."""
    interval = median_interval(values, LOOK_LEVEL)
    return (interval.hi - interval.lo) / 2 / median(values) if interval else None


def describe(met: Met) -> str:
    """Say why a cell takes no further turn."""
    rates = ", ".join(f"{name} ±{half_width:.1%}" for name, half_width in met.half_widths.items())
    return f"met the target of ±{met.target * 100:g}% after {met.n_rounds} rounds: {rates}"


def _rates(record: Round) -> dict[str, float]:
    found = rates_of(record)
    rates = {"prefill": found.prefill, "decode": found.decode}
    return {name: rate for name, rate in rates.items() if rate is not None}
