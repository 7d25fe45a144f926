"""Series of rounds drawn at random, and how the stopping rule and the trend test judge them.

The values are rates around 1 with a scatter of about 2 %; numpy draws them, the program's own functions judge them.
"""

import math
from collections.abc import Sequence

import numpy as np

from profiler.analysis.stats import LOOK_LEVEL, adjusted_interval, median_interval
from profiler.analysis.trend import find_trend
from profiler.sweep.stopping import MOST_ROUNDS, looks_of, relative_half_width

SCATTER = 0.02
_N_ROUNDS = 10  # in which a drift is looked for
# The relative median of each shape, in units of the scatter.
MEDIANS = {"normal": 0.0, "lognormal": 0.0, "heavy-tailed": 0.0, "bimodal": -0.16978, "gap": -1.5}
# Rounds that alternate between two memory layouts, 3 % apart; the middle of the two, in units of the scatter.
LAYOUTS = {"layout": -0.75, "layout, steady": -0.75}


def draw(shape: str, source: np.random.Generator, n_series: int, n_rounds: int) -> np.ndarray:
    """Return (n_series, n_rounds) rates of one shape.

    heavy-tailed is Student's t with two degrees of freedom. bimodal is a device that is slower in three rounds of ten;
    in gap it is in half of the rounds, by chance, so that the median falls where there are no values: the hardest case
    there is. In layout it is in every second round, with the usual scatter or a fifth of it.
    """
    size = (n_series, n_rounds)
    second = np.arange(n_rounds) % 2
    values = {
        "normal": lambda: source.standard_normal(size),
        "lognormal": lambda: np.exp(source.standard_normal(size)) - 1,
        "heavy-tailed": lambda: source.standard_t(2, size),
        "bimodal": lambda: source.standard_normal(size) * 0.3 - 3 * (source.random(size) < 0.3),
        "gap": lambda: source.standard_normal(size) * 0.3 - 3 * (source.random(size) < 0.5),
        "layout": lambda: source.standard_normal(size) - 1.5 * second,
        "layout, steady": lambda: source.standard_normal(size) * 0.2 - 1.5 * second,
    }[shape]()
    return 1 + SCATTER * values


def coverage(shape: str, target: float, n_series: int, seed: int, most: int = MOST_ROUNDS) -> tuple[float, float]:
    """Return how often the printed interval covers the median, and the mean number of rounds under the rule."""
    source = np.random.default_rng(seed)
    middle = 1 + SCATTER * (MEDIANS | LAYOUTS)[shape]
    n_held = n_rounds = 0
    for series in draw(shape, source, n_series, most).tolist():
        for look in looks_of(most):
            width = relative_half_width(series[:look])
            if look == most or (width is not None and width <= target):
                break
        interval = adjusted_interval(series[:look], target)
        assert interval is not None
        n_held += interval.lo <= middle <= interval.hi
        n_rounds += look
    return n_held / n_series, n_rounds / n_series


def exact_coverage(looks: Sequence[int]) -> float:
    """Return the probability that the intervals of all these looks cover the median of any continuous distribution.

    Exact: follows the count of rounds below the median; a path ends where a look's interval misses.
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
    """Return which of n values, counted from either end, bounds the interval of a look; 0 where n is too small."""
    interval = median_interval(range(1, n + 1), LOOK_LEVEL)
    return round(interval.lo) if interval else 0


def drift_share(
    drift: float,
    n_cells: int,
    seed: int,
    *,
    reps: int = 3,
    scatter: float = SCATTER,
    per_round: float = 0.0,
    heavy: bool = False,
) -> float:
    """Return the share of cells in which a drift is seen; `per_round` is a scatter that a round's repetitions share."""
    source = np.random.default_rng(seed)
    size = (n_cells, _N_ROUNDS, reps)
    noise = source.standard_t(3, size) / math.sqrt(3) if heavy else source.standard_normal(size)
    shared = source.standard_normal((n_cells, _N_ROUNDS, 1))
    fall = 1 - drift * np.arange(_N_ROUNDS) / (_N_ROUNDS - 1)
    rates = fall[None, :, None] * np.exp(scatter * noise + per_round * shared)
    found = [find_trend(rounds) for rounds in rates.tolist()]
    return sum(trend is not None and trend.counts for trend in found) / n_cells
