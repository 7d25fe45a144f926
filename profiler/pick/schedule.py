"""What is measured next: the entries and levels that the doubt about the choice consists of.

A level that was never measured begins with one round at the thread count that is probably its best; on the first two
levels all thread counts are measured, from which that is known. A level that probably misses the bar of quality is
scored before it is timed. Entries wait whose doubt is small beside the largest: it mostly shrinks by itself once the
noise is known.
"""

import math
from collections.abc import Sequence

from profiler.pick.odds import Odds
from profiler.pick.records import RaceOptions, RoundStep, Step, WindowsStep

_WAITING = 0.1  # entries wait whose doubt is less than this share of the largest
_PATIENCE = 1.3  # rounds for a confirmation, disturbed ones included, as a share of those that are needed
_SCORE_FIRST = 0.3  # levels that meet the bar with less than this probability are scored before they are timed
_SURE = 0.98  # of a quality that more windows would not make surer
_LEVELS_TO_LEARN = 2
_LEARN_BITS = 10.0  # thread counts are learnt on levels below: others are slow and rarely the choice
_AT_ONCE = 3  # levels that are tried together when none meets the limits yet


class Schedule:
    """The steps after one look."""

    def __init__(self, odds: Odds, n_quiet: Sequence[int], options: RaceOptions, bound: float) -> None:
        """Take the state of the race; `bound` is the error at which the choice stands."""
        self.choice = odds.best()
        self._odds, self._n_quiet, self._options, self._bound = odds, n_quiet, options, bound
        self._entries, self._n_rounds = odds.entries, odds.known.n_rounds
        self.doubts = odds.doubts(self.choice)
        self.error = odds.error_of(self.choice)
        self._by_rounds = odds.round_doubts(self.choice)

    def steps(self) -> list[Step]:
        """Return the steps of the next block; none once the choice is decided and confirmed."""
        if self.error > self._bound and (steps := self._to_decide()):
            return steps
        return self._to_break_tie() or self._to_confirm()

    def _to_decide(self) -> list[Step]:
        wanted = self._wanted()
        levels = list(dict.fromkeys(self._entries[place].level for place in wanted))
        fresh = [level for level in levels if not any(self._n_rounds[place] for place in self._of(level))]
        scored_first = [level for level in fresh if self._is_scored_first(level)]
        steps: dict[Step, None] = dict.fromkeys(self._windows(level) for level in scored_first)
        fresh = [level for level in fresh if level not in scored_first]
        if learn := self._to_learn(fresh):
            places = [place for level in learn for place in self._of(level)]
            return [*steps, *(self._round(place) for place in places)]
        if self.choice is None and self._odds.by_quality:
            fresh = sorted(fresh, key=self._odds.qualities.expected)[:_AT_ONCE]
        places = [self._first_of(level) for level in fresh]
        for place in wanted:
            if self._entries[place].level not in fresh and self._entries[place].level not in scored_first:
                if windows := self._windows_for(place):
                    steps.update(dict.fromkeys(windows))
                elif self._is_worth_a_round(place):
                    places.append(place)
        if self.choice is not None:
            steps.update(dict.fromkeys(self._own_windows()))
            compared = any(self._is_compared(place) for place in places)
            own = self._own_rates_open() and self._is_worth_a_round(self.choice)
            if (compared or own) and self._n_rounds[self.choice] < self._options.most_rounds:
                places.append(self.choice)
        return [*steps, *(self._round(place) for place in dict.fromkeys(places))]

    def _wanted(self) -> list[int]:
        """Return the entries whose doubt more measurements can reduce, but those that may wait."""
        open_ = [place for place, doubt in enumerate(self.doubts) if doubt > 0 and self._is_reducible(place)]
        open_.sort(key=lambda place: self.doubts[place])
        rested = 0.0
        while open_ and rested + self.doubts[open_[0]] <= self._bound / 2:
            rested += self.doubts[open_.pop(0)]
        largest = self.doubts[open_[-1]] if open_ else 0.0
        return sorted(place for place in open_ if self.doubts[place] >= _WAITING * largest)

    def _is_reducible(self, place: int) -> bool:
        return self._is_worth_a_round(place) or bool(self._windows_for(place))

    def _is_worth_a_round(self, place: int) -> bool:
        """Return whether another round of an entry may help: after those of a confirmation, where it can settle."""
        n_rounds, options = self._n_rounds, self._options
        if n_rounds[place] >= options.most_rounds:
            return False
        if self.choice is None or min(n_rounds[place], n_rounds[self.choice]) < options.confirm_rounds:
            return True
        return self._odds.can_settle(place, self.choice, options.most_rounds, self._bound / 2)

    def _to_learn(self, fresh: Sequence[str]) -> list[str]:
        """Return the levels on which all thread counts are measured now."""
        counts = {(each.n_threads, each.n_threads_batch) for each in self._entries}
        learnt = {each.level for place, each in enumerate(self._entries) if self._n_rounds[place]}
        if len(counts) == 1 or len(learnt) >= _LEVELS_TO_LEARN or not fresh:
            return []
        few = [level for level in fresh if self._odds.qualities.bits[level] < _LEARN_BITS] or list(fresh)
        if self._odds.by_quality:
            few.sort(key=self._odds.qualities.expected)
            return few[: _LEVELS_TO_LEARN - len(learnt) if self._odds.known.rates else 1]
        few.sort(key=lambda level: self._odds.qualities.bits[level])
        return few if len(few) == 1 else [few[0], few[-1]][: _LEVELS_TO_LEARN - len(learnt)]

    def _first_of(self, level: str) -> int:
        return max(self._of(level), key=lambda place: (self._odds.expected_speed(place), -place))

    def _of(self, level: str) -> list[int]:
        return [p for p, each in enumerate(self._entries) if each.level == level and not self._odds.known.out[p]]

    def _round(self, place: int) -> Step:
        return RoundStep(key=self._entries[place].key, number=self._n_rounds[place])

    def _is_scored_first(self, level: str) -> bool:
        place = self._of(level)[0]
        return self._odds.bar[place] < _SCORE_FIRST and self._odds.qualities.next_windows(level) is not None

    def _windows(self, level: str) -> Step:
        n_windows = self._odds.qualities.next_windows(level)
        assert n_windows is not None
        return WindowsStep(level=level, n_windows=n_windows)

    def _windows_for(self, place: int) -> list[Step]:
        """Return the windows that say more about an entry than another round; none where a round says more."""
        if not self._n_rounds[place]:
            return []
        qualities, level = self._odds.qualities, self._entries[place].level
        levels = [level]
        if self._odds.by_quality and self.choice is not None:
            levels = qualities.fewer_windows(level, self._entries[self.choice].level)
        steps = [self._windows(name) for name in levels if qualities.next_windows(name) is not None]
        # The smaller of two doubts is the entry's, and the easier to bring down further.
        by_quality = float(self._odds.quality_doubts(self.choice)[place])
        first = not self._is_worth_a_round(place) or by_quality <= self._by_rounds[place]
        return steps if by_quality <= _SURE and first else []

    def _own_windows(self) -> list[Step]:
        assert self.choice is not None
        level = self._entries[self.choice].level
        enough = 1 - self._odds.bar[self.choice] <= self._bound / 4
        return [] if enough or self._odds.qualities.next_windows(level) is None else [self._windows(level)]

    def _own_rates_open(self) -> bool:
        assert self.choice is not None
        return 1 - float(self._odds.rates_reached(-self._odds.tie)[self.choice]) > self._bound / 4

    def _is_compared(self, place: int) -> bool:
        """Return whether an entry's doubt depends on its speed beside the choice's."""
        assert self.choice is not None
        one, two = self._entries[place].level, self._entries[self.choice].level
        return not self._odds.by_quality or self._odds.qualities.better(one, two) < _SURE

    def _to_break_tie(self) -> list[Step]:
        """Return rounds of an entry that is preferred in a tie, and of the choice, until it is surely as right."""
        if self.choice is None:
            return []
        preferred = self._odds.of_tie(self.choice, math.inf)
        is_open = preferred != self.choice and self._odds.error_of(preferred) > self._options.error
        return [self._round(p) for p in (preferred, self.choice) if is_open and self._is_worth_a_round(preferred)]

    def _to_confirm(self) -> list[Step]:
        if self.choice is None:
            return []
        final = self._odds.of_tie(self.choice, self._options.error)
        places = [final, *self._odds.close_to(final)[:1]]
        return [self._round(place) for place in places if self._is_unconfirmed(place)]

    def _is_unconfirmed(self, place: int) -> bool:
        needed = self._options.confirm_rounds
        return self._n_quiet[place] < needed and self._n_rounds[place] < math.ceil(needed * _PATIENCE)
