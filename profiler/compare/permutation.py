"""Two groups of rounds: by which factor they differ, within which interval, and whether that is more than chance.

The test permutes the labels of whole rounds, since the repetitions within a round share a process and are no
independent witnesses. Its statistic is the sum of ranks: a few slow rounds cannot hide or feign a difference, and the
permutation distribution is a matter of counting, so that it is exact without trying the permutations one by one. The
ratio is the Hodges-Lehmann estimate, the interval holds the factors that the same test does not reject.
Source: Lehmann, Nonparametrics: Statistical Methods Based on Ranks, chapters 1 and 2.
"""

import math
import random
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from profiler.analysis.stats import INTERVAL_ROUNDS, median

# Above it, counting takes longer than drawing. Ties are what makes ranks differ from 1, 2, 3, ...
_EXACT_ROUNDS = 60
_DRAWS = 20_000
_SEED = 1


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The ratio of two groups. `lo`, `hi` and `p` are None where one of them has too few rounds."""

    ratio: float
    lo: float | None
    hi: float | None
    p: float | None  # two-sided


def compare_rounds(base: Sequence[float], new: Sequence[float], confidence: float = 0.95) -> Verdict:
    """Compare the positive values of two groups of rounds; the ratio is `new` to `base`."""
    if not base or not new:
        raise ValueError("a comparison needs a value on either side")
    logs_base, logs_new = [math.log(value) for value in base], [math.log(value) for value in new]
    shifts = sorted(after - before for before in logs_base for after in logs_new)
    ratio = math.exp(median(shifts))
    if min(len(base), len(new)) < INTERVAL_ROUNDS:
        return Verdict(ratio=ratio, lo=None, hi=None, p=None)
    skipped = _pairs_outside(len(base), len(new), confidence)
    return Verdict(
        ratio=ratio,
        lo=math.exp(shifts[skipped]),
        hi=math.exp(shifts[-1 - skipped]),
        p=permutation_p(logs_base, logs_new),
    )


def permutation_p(base: Sequence[float], new: Sequence[float]) -> float:
    """Return the share of all permutations of rounds whose rank sum is at least as extreme as the one seen."""
    ranks = doubled_ranks([*base, *new])
    seen = sum(ranks[: len(base)])
    middle = len(base) * (len(ranks) + 1)  # of the doubled rank sum, whatever is tied
    far = abs(seen - middle)
    if len(ranks) > _EXACT_ROUNDS:
        return _drawn_p(ranks, len(base), middle, far)
    return _share_beyond(tuple(sorted(ranks)), len(base), middle, far)


def doubled_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value, from 1; tied values share the mean of theirs, which doubled is whole."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    ranks = [0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        for place in order[first : last + 1]:
            ranks[place] = first + last + 2
        first = last + 1
    return ranks


def least_p(n_base: int, n_new: int) -> float:
    """Return the smallest p that so many rounds can show: when all of one side are beyond all of the other."""
    return min(1.0, 2 / math.comb(n_base + n_new, n_base))


# Without ties the ranks of all cells are the same, and sums few.
@lru_cache(maxsize=4096)
def _share_beyond(ranks: tuple[int, ...], size: int, middle: int, far: int) -> float:
    beyond = sum(count for total, count in _sums(ranks, size).items() if abs(total - middle) >= far)
    return beyond / math.comb(len(ranks), size)


@lru_cache(maxsize=256)
def _sums(ranks: tuple[int, ...], size: int) -> dict[int, int]:
    """Count, for every sum, the subsets of that size that have it."""
    counts: list[dict[int, int]] = [{0: 1}, *({} for _ in range(size))]
    for rank in ranks:
        for taken in range(size, 0, -1):
            here = counts[taken]
            for total, ways in counts[taken - 1].items():
                here[total + rank] = here.get(total + rank, 0) + ways
    return counts[size]


def _drawn_p(ranks: Sequence[int], size: int, middle: int, far: int) -> float:
    draw = random.Random(_SEED)
    hits = sum(abs(sum(draw.sample(ranks, size)) - middle) >= far for _ in range(_DRAWS))
    return (hits + 1) / (_DRAWS + 1)  # the permutation that was seen is one of them, so p is never 0


@lru_cache(maxsize=256)
def _pairs_outside(n_base: int, n_new: int, confidence: float) -> int:
    """Return how many of the sorted pairwise shifts are outside the interval, on either side."""
    total = n_base + n_new
    if total > _EXACT_ROUNDS:  # the rank sum is as good as normal then
        spread = math.sqrt(n_base * n_new * (total + 1) / 12)
        return max(0, math.floor(n_base * n_new / 2 - _normal_quantile((1 + confidence) / 2) * spread) - 1)
    counts = _sums(tuple(range(1, total + 1)), n_base)
    least = n_base * (n_base + 1) // 2
    room = (1 - confidence) / 2 * math.comb(total, n_base)
    below = 0
    for skipped in range(n_base * n_new):
        below += counts.get(least + skipped, 0)
        if below > room:
            return max(0, skipped - 1)  # with so many pairs beyond a factor, the test does not reject it yet
    return 0


def _normal_quantile(fraction: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(fraction)
