"""`--target 2%`: when a cell has been measured well enough, while its interval keeps its coverage.

Stopping as soon as the interval is narrow makes it too narrow, since it is narrow most easily where it is wrong. So
there are only four looks, and at each the interval is taken at a higher level than the 95 % that is printed:

    rounds                      6        10       14       18
    between order statistics    1, 6     2, 9     3, 12    5, 14
    coverage of one look        96.9 %   97.9 %   98.7 %   96.9 %

The number of rounds below the median is a fair coin's count, whatever the distribution. So the probability that all
four intervals cover the median is known exactly: 93.5 %. No stopping rule and no distribution gets below that; on
simulated normal, skewed, heavy-tailed and bimodal series this rule covers 95.5 to 97.1 %, and 93.5 % where the median
falls in a gap between two equal modes (tests/benchmarks/coverage.py). With more than 18 rounds at least 90 % are
certain.

Looks are even because rounds alternate between two kinds of memory layout (engine/memory_layout.py). After an odd
number one kind is ahead, and where the layout matters more than the scatter the median is that kind's: at 3 % between
the kinds and 0.4 % within, a target of 1.5 % and a look at 13 rounds give twice the error of a look at 14. The later
look costs at most 0.4 rounds of a cell's mean.
"""

from collections.abc import Iterable, Sequence

import msgspec

from profiler.analysis.rates import rates_of
from profiler.analysis.stats import LOOK_LEVEL, median, median_interval
from profiler.records.round import Round

LOOKS = (6, 10, 14, 18)
MOST_ROUNDS = LOOKS[-1]  # the default of --rounds under --target
FEWEST_ROUNDS = LOOKS[0]


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that met its target: after how many rounds, and the relative half-width of each of its rates."""

    target: float
    n_rounds: int
    half_widths: dict[str, float]


def looks_of(most: int) -> tuple[int, ...]:
    """Return the numbers of rounds at which a cell of at most `most` rounds is looked at; the last is `most` itself.

    There are never more than four: each look costs coverage. All are even, but for an odd `most`.
    """
    if most <= MOST_ROUNDS:
        return (*(look for look in LOOKS if look < most), most)
    return (LOOKS[0], *(2 * round(most * look / MOST_ROUNDS / 2) for look in LOOKS[1:-1]), most)


class Stopping:
    """Which cells have met a target; without a target none ever does. A cell that met it once stays so."""

    def __init__(self, target: float | None, most: int, earlier: Iterable[Round] = ()) -> None:
        self._target = target
        self._looks = looks_of(most)
        self._rates: dict[str, dict[int, dict[str, float]]] = {}  # by cell and round
        self.met: dict[str, Met] = {}
        for record in sorted(earlier, key=lambda record: record.order):
            self.add(record)

    def add(self, record: Round) -> Met | None:
        """Count a round, in the order of time; at a look, return what was seen where the target is met now."""
        key = record.cell.key
        if self._target is None or record.status != "ok":
            return None
        of_cell = self._rates.setdefault(key, {})
        of_cell[record.round] = _rates(record)
        rounds = list(of_cell.values())
        if key in self.met or len(rounds) not in self._looks:
            return None
        half_widths = {}
        for name in rounds[0]:
            half_width = relative_half_width([rates[name] for rates in rounds if name in rates])
            if half_width is None or half_width > self._target:
                return None
            half_widths[name] = half_width
        if not half_widths:
            return None
        self.met[key] = Met(target=self._target, n_rounds=len(rounds), half_widths=half_widths)
        return self.met[key]

    def withdraw(self, key: str, number: int) -> None:
        """Forget a round that is to be measured again; its cell has then not met the target."""
        self._rates.get(key, {}).pop(number, None)
        self.met.pop(key, None)


def relative_half_width(values: Sequence[float]) -> float | None:
    """Return half the width of a look's interval as a share of the median; None where there is no interval."""
    interval = median_interval(values, LOOK_LEVEL)
    return (interval.hi - interval.lo) / 2 / median(values) if interval else None


def describe(met: Met) -> str:
    """Return the reason why a cell takes no further turn."""
    rates = ", ".join(f"{name} ±{half_width:.1%}" for name, half_width in met.half_widths.items())
    return f"met the target of ±{met.target * 100:g}% after {met.n_rounds} rounds: {rates}"


def _rates(record: Round) -> dict[str, float]:
    found = rates_of(record)
    rates = {"prefill": found.prefill, "decode": found.decode}
    return {name: rate for name, rate in rates.items() if rate is not None}
