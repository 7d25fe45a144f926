"""What could be wrong with a choice: for every other entry, the probability that it is better and meets the limits.

Their sum, with the probability that the choice itself misses a limit, bounds the error of the whole decision. An entry
is better by speed only where it is faster by more than a tie, and misses a rate only where it is beyond it by a tie.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from profiler.pick.model import Array, Fit, chance_to_settle
from profiler.pick.quality import Qualities
from profiler.pick.records import Entry
from profiler.recommend.records import Limits
from profiler.recommend.rule import goal_of

_SURE = 0.95  # that one of two is the better, beside which they are a tie
_SAME_MEMORY = 0.01
_FUTILE = 0.5  # the chance to settle a doubt, below which further rounds are not worth their time


class Known(NamedTuple):
    """All that is known at one look, by the places of the entries."""

    speed: Fit
    rates: Sequence[tuple[Fit, float]]  # a model and the log of the rate that an entry must reach
    memory_bytes: Sequence[float | None]  # the largest round; None: not measured
    n_rounds: Sequence[int]
    out: Sequence[bool]  # entries that failed, are absent or cannot meet the limits


class Odds:
    """Probabilities at one look."""

    def __init__(
        self, entries: Sequence[Entry], limits: Limits, known: Known, qualities: Qualities, tie: float
    ) -> None:
        """Take what is known; `tie` is a share of a speed."""
        self.entries, self.known, self.qualities = entries, known, qualities
        self.by_quality = goal_of(limits) == "quality"
        self.tie = -math.log(1 - tie)
        bars = {level: qualities.meets_bar(level) for level in qualities.bits}
        self.bar = [0.0 if known.out[place] else bars[each.level] for place, each in enumerate(entries)]
        most = limits.max_memory_bytes
        self.memory = [1.0 if most is None or found is None or found <= most else 0.0 for found in known.memory_bytes]
        self._better: dict[int, Array] = {}

    @cached_property
    def _meets_surely(self) -> Array:
        return np.minimum(self._others_than_rates, self.rates_reached(self.tie))

    @cached_property
    def _meets(self) -> Array:
        return np.minimum(self._others_than_rates, self.rates_reached(0.0))

    @cached_property
    def _others_than_rates(self) -> Array:
        return np.minimum(self.bar, self.memory)

    def rates_reached(self, margin: float) -> Array:
        """Return the probability that each entry reaches the rates, times e to the margin."""
        reached = np.ones(len(self.entries))
        for fit, least in self.known.rates:
            reached = np.minimum(reached, fit.beyond(least + margin))
        return reached

    def meets(self, place: int) -> bool:
        """Return whether an entry probably meets every limit and the bar of quality."""
        return bool(self._meets[place] >= 0.5)

    def better_than(self, choice: int) -> Array:
        """Return the probability that each entry is better than a choice where both meet the limits."""
        if choice not in self._better:
            faster = self.known.speed.faster_than(choice, self.tie)
            if self.by_quality:
                finer, as_fine = self.finer_than(choice)
                faster = np.minimum(finer + as_fine * faster, 1.0)
            self._better[choice] = faster
        return self._better[choice]

    def finer_than(self, choice: int) -> tuple[Array, Array]:
        """Return the probabilities that each entry's quality is better than a choice's, and that it is a tie."""
        level = self.entries[choice].level
        better = {other: self.qualities.better(other, level) for other in self.qualities.bits}
        worse = {other: self.qualities.better(level, other) for other in self.qualities.bits}
        finer = np.array([better[each.level] for each in self.entries])
        coarser = np.array([worse[each.level] for each in self.entries])
        return finer, np.maximum(1 - finer - coarser, 0.0)

    def quality_doubts(self, choice: int | None) -> Array:
        """Return the probability that each entry's quality lets it be the better choice."""
        if choice is None or not self.by_quality:
            return np.array(self.bar)
        finer, as_fine = self.finer_than(choice)
        return np.minimum(self.bar, finer + as_fine)

    def doubts(self, choice: int | None) -> list[float]:
        """Return the probability that each entry should have been chosen instead; without a choice, at all."""
        if choice is None:
            return [float(value) for value in self._meets_surely]
        doubts = np.minimum(self._meets_surely, self.better_than(choice))
        doubts[choice] = 0.0
        return [float(value) for value in doubts]

    def round_doubts(self, choice: int | None) -> Array:
        """Return the probability that each entry's rates and memory let it be the better choice."""
        meets = np.minimum(self.memory, self.rates_reached(self.tie))
        if choice is None:
            return meets
        faster = self.known.speed.faster_than(choice, self.tie)
        if self.by_quality:
            finer, _ = self.finer_than(choice)
            faster = np.where(finer >= 0.5, 1.0, faster)
        return np.minimum(meets, faster)

    def own_doubt(self, choice: int) -> float:
        """Return the probability that a choice misses a limit."""
        rates = sum(1 - float(fit.beyond(least - self.tie)[choice]) for fit, least in self.known.rates)
        return min(1.0, rates + (1 - self.bar[choice]) + (1 - self.memory[choice]))

    def can_settle(self, place: int, choice: int, most_rounds: int, error: float) -> bool:
        """Return whether rounds up to the most may still show that an entry is not better, or that it is.

        Better is faster than the choice by more than a tie, or beyond a rate that has a limit, with a probability of
        error.
        """
        n_rounds, z = self.known.n_rounds, NormalDist().inv_cdf(1 - error)

        def is_open(distance: float, spread: float, n: int) -> bool:
            share = n / most_rounds
            needed = max(z * spread * math.sqrt(share) - self.tie, 0.0)
            return share < 1 and chance_to_settle(distance, spread, share, needed) >= _FUTILE

        apart = float(self.known.speed.mean[place] - self.known.speed.mean[choice])
        spread = float(self.known.speed.spread_from(choice)[place])
        if place != choice and is_open(apart, spread, min(n_rounds[place], n_rounds[choice])):
            return True
        return any(
            is_open(float(fit.mean[place]) - least, math.sqrt(float(fit.covariance[place, place])), n_rounds[place])
            for fit, least in self.known.rates
        )

    def error_of(self, choice: int | None) -> float:
        """Return the largest probability that a choice is wrong, over all entries; None: that nothing fits is."""
        own = 0.0 if choice is None else self.own_doubt(choice)
        # The quality of a level is one figure: the doubt about it counts once, whatever its number of entries.
        most = dict(zip((each.level for each in self.entries), self.quality_doubts(choice), strict=True))
        by_level = dict.fromkeys(most, 0.0)
        for each, doubt in zip(self.entries, self.doubts(choice), strict=True):
            by_level[each.level] += doubt
        return min(1.0, own + sum(min(doubt, float(most[level])) for level, doubt in by_level.items()))

    def expected_speed(self, place: int) -> float:
        """Return the log of an entry's speed, measured or not."""
        return float(self.known.speed.mean[place])

    def best(self) -> int | None:
        """Return the measured entry that is probably the best of those that probably meet the limits."""
        able = [place for place, n in enumerate(self.known.n_rounds) if n and self.meets(place)]
        if self.by_quality and able:
            finest = min(able, key=lambda place: self.qualities.expected(self.entries[place].level))
            level = self.entries[finest].level
            able = [place for place in able if self.qualities.better(level, self.entries[place].level) < 0.5]
        return max(able, key=self.expected_speed, default=None)

    def of_tie(self, choice: int, bound: float) -> int:
        """Return the entry to prefer among those that are as right as the choice at this bound of error.

        By quality, then memory, then bits per weight, then fewer threads.
        """
        preferred = choice
        reach = self.expected_speed(choice) - self.tie
        for place in self.others(choice):
            near = self.expected_speed(place) >= reach
            if near and self._prefers(place, preferred) and self.error_of(place) <= bound:
                preferred = place
        return preferred

    def others(self, choice: int) -> list[int]:
        """Return the other measured entries that probably meet the limits, the best first."""
        able = [place for place, n in enumerate(self.known.n_rounds) if n and place != choice and self.meets(place)]
        able.sort(key=lambda place: (-self.expected_speed(place), place))
        if self.by_quality:
            able.sort(key=lambda place: self.qualities.expected(self.entries[place].level))
        return able

    def close_to(self, choice: int) -> list[int]:
        """Return the entries of other levels that may be as good as a choice, the best first."""
        level = self.entries[choice].level
        others = [place for place in self.others(choice) if self.entries[place].level != level]
        return [place for place in others if self.is_tie(place, choice)]

    def is_tie(self, place: int, choice: int) -> bool:
        """Return whether neither of two is surely the better by more than a tie."""
        return bool(max(self.better_than(choice)[place], self.better_than(place)[choice]) < _SURE)

    def _prefers(self, place: int, other: int) -> bool:
        one, two = self.entries[place], self.entries[other]
        if one.level == two.level:
            return one.n_threads + one.n_threads_batch < two.n_threads + two.n_threads_batch
        better, worse = self.qualities.better(one.level, two.level), self.qualities.better(two.level, one.level)
        if max(better, worse) >= _SURE:
            return better > worse
        memory, its = self.known.memory_bytes[place], self.known.memory_bytes[other]
        if memory and its and abs(memory / its - 1) > _SAME_MEMORY:
            return memory < its
        return one.bpw > two.bpw
