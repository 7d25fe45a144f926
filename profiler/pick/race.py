"""The race: which round or which windows are measured next, and what is decided by those that were.

At every look the best entry is the provisional choice, and the probabilities that another should have been chosen are
added up (odds.py), whatever depends on what. The choice stands when their sum is at most half of the error; the other
half is left for the breaking of a tie at the end. These are posterior probabilities, which hold whenever they are
looked at; `make bench-pick` counts how often such a choice is wrong. Else the entries that the sum consists of get
another round, all in one block, or more windows (schedule.py), as long as these may settle it. Then the best answer
stands with the error that remains.
"""

import math
from collections.abc import Iterable, Sequence

from profiler.pick.model import Row, SpeedModel
from profiler.pick.odds import Known, Odds
from profiler.pick.quality import Qualities
from profiler.pick.records import (
    DEFAULTS,
    EliminatedBy,
    Elimination,
    Entry,
    Observed,
    Quality,
    RaceOptions,
    RoundStep,
    Step,
    Verdict,
    WindowsStep,
)
from profiler.pick.schedule import Schedule
from profiler.pick.words import inadmissible, reason_of, standings_of, why_beaten
from profiler.recommend.records import Limits
from profiler.recommend.rule import bar_of
from quant.base.errors import UserError

_NEGLIGIBLE = 0.1  # of the error: an entry with less doubt is out


class Race:
    """Entries that compete for one choice.

    Usage: `while (step := race.next()) is not None: ...`, with a `record_...` for what came of each step; `verdict()`
    at any time. A step is requested again until something is recorded that answers it.
    """

    def __init__(self, entries: Iterable[Entry], limits: Limits, options: RaceOptions = DEFAULTS) -> None:
        """Begin with what is known without measuring: entries that cannot meet the limits are out at once.

        Raises:
            UserError: a KLD is limited that cannot be measured.
        """
        self.entries = tuple(entries)
        self._limits, self._options = limits, options
        self._place = {each.key: place for place, each in enumerate(self.entries)}
        by_kld = options.with_quality and not any(each.synthetic for each in self.entries)
        if limits.max_kld is not None and not by_kld:
            raise UserError("--max-kld needs measured quality, which there is none of here; remove --max-kld")
        bits = {each.level: each.bpw for each in self.entries}
        bar = bar_of(limits, with_kld=by_kld)
        self._qualities = Qualities(bits, bar, options.windows, by_kld=by_kld, f16_cache=options.f16_cache)
        levels = [each.level for each in self.entries]
        self._decode = SpeedModel(levels, [each.n_threads for each in self.entries])
        self._prefill = SpeedModel(levels, [each.n_threads_batch for each in self.entries])
        self._rows: dict[str, list[Row]] = {"decode": [], "prefill": [], "ttft": []}
        self._memory: list[float | None] = [None] * len(self.entries)
        self._n_rounds = [0] * len(self.entries)
        self._n_disturbed = [0] * len(self.entries)
        self._out: dict[int, Elimination] = {}
        self._beaten: dict[int, Elimination] = {}  # by measurements: a later look may take one back
        self._block = self._n_fed = 0
        self._error = options.error / 2
        self._due: list[Step] = []
        for place, each in enumerate(self.entries):
            if found := inadmissible(each, limits, self._qualities):
                self._out[place] = self._elimination(place, *found)
        self._look()

    def next(self) -> Step | None:
        """Return what to measure next; None once the choice is decided."""
        return self._due[0] if self._due else None

    def record_round(self, key: str, observed: Observed) -> None:
        """Count one round of an entry, disturbed or not."""
        place = self._place[key]
        per_s = 1 / observed.ttft_ms if observed.ttft_ms else None
        for name, rate in (("decode", observed.decode_tps), ("prefill", observed.prefill_tps), ("ttft", per_s)):
            if rate is not None and rate > 0:
                odd = bool(self._n_rounds[place] % 2)
                self._rows[name].append(Row(place, self._block, odd, observed.disturbed, math.log(rate)))
        if observed.model_rss_bytes is not None:
            self._memory[place] = max(self._memory[place] or 0, observed.model_rss_bytes)
        self._n_rounds[place] += 1
        self._n_disturbed[place] += observed.disturbed
        answered = [step for step in self._due if isinstance(step, RoundStep) and step.key == key]
        self._go_on(answered[:1])

    def record_failure(self, key: str, why: str) -> None:
        """Take an entry out of the race: its worker failed."""
        self._take_out([self._place[key]], "failure", why)

    def record_quality(self, level: str, n_windows: int, kld: float, kld_se: float) -> None:
        """Replace what is known of a level's quality by the figure of this many windows."""
        self._qualities.scored[level] = Quality(n_windows=n_windows, kld=kld, kld_se=kld_se)
        self._go_on([step for step in self._due if isinstance(step, WindowsStep) and step.level == level])

    def record_no_quality(self, level: str, why: str) -> None:
        """Take a level out of the race: its quality cannot be measured."""
        self._take_out(self._places_of(level), "failure", why)

    def record_absent(self, level: str, why: str) -> None:
        """Take a level out of the race: it cannot be made, or does not fit."""
        self._take_out(self._places_of(level), "absent", why)

    def verdict(self) -> Verdict:
        """Return the decision as it stands."""
        odds, places_out = self._odds(), {**self._beaten, **self._out}
        out = sorted(places_out.values(), key=lambda each: (each.at_step, self._place[each.key]))
        best = odds.best()
        choice = None if best is None else odds.of_tie(best, self._options.error)
        others = [] if choice is None else odds.others(choice)
        tied = tuple(self.entries[place].key for place in others if choice is not None and odds.is_tie(place, choice))
        level = None if choice is None else self.entries[choice].level
        rivals = [self.entries[place].key for place in others if self.entries[place].level != level]
        return Verdict(
            decided=not self._due,
            chosen=None if choice is None else self.entries[choice].key,
            tied=tied,
            runner_up=rivals[0] if rivals else None,
            error=odds.error_of(choice),
            reason=reason_of(odds, choice, out, tied=tied, decided=not self._due),
            eliminated=tuple(out),
            open=tuple(each.key for place, each in enumerate(self.entries) if place not in places_out),
            standings=standings_of(odds, self._n_disturbed),
        )

    def _places_of(self, level: str) -> list[int]:
        return [place for place, each in enumerate(self.entries) if each.level == level]

    def _take_out(self, places: list[int], by: EliminatedBy, why: str) -> None:
        for place in places:
            self._out.setdefault(place, self._elimination(place, by, why, at_step=self._n_fed + 1))
        keys = {self.entries[place].key for place in self._out}
        levels = {each.level for each in self.entries if each.key not in keys}
        self._go_on([step for step in self._due if _is_gone(step, keys, levels)])

    def _elimination(self, place: int, by: EliminatedBy, why: str, at_step: int | None = None) -> Elimination:
        key, n_rounds = self.entries[place].key, self._n_rounds[place]
        return Elimination(
            key=key, by=by, after_rounds=n_rounds, at_step=self._n_fed if at_step is None else at_step, why=why
        )

    def _go_on(self, answered: Sequence[Step]) -> None:
        """Count something that was fed; look again where nothing of the block is due any more."""
        self._n_fed += 1
        self._due = [step for step in self._due if step not in answered]
        if not self._due:
            self._look()

    def _look(self) -> None:
        self._block += 1
        odds = self._odds()
        n_quiet = [n - bad for n, bad in zip(self._n_rounds, self._n_disturbed, strict=True)]
        schedule = Schedule(odds, n_quiet, self._options, self._error)
        self._due = schedule.steps()
        if self._block % 2:  # turned round each time: a drift within the blocks cancels
            self._due.reverse()
        self._note_beaten(odds, schedule)

    def _note_beaten(self, odds: Odds, schedule: Schedule) -> None:
        """Keep a log of who is out by measurements, and since when."""
        back = self._error
        out = _NEGLIGIBLE * back if self._due else back  # apart until the end, so that nothing goes to and fro
        sure = schedule.choice is None or odds.own_doubt(schedule.choice) <= back
        doubts = schedule.doubts if sure else odds.doubts(None)
        due = {step.key for step in self._due if isinstance(step, RoundStep)}
        for place, doubt in enumerate(doubts):
            key = self.entries[place].key
            if place == schedule.choice or key in due or doubt > back:
                self._beaten.pop(place, None)
            elif doubt <= out and place not in self._beaten and place not in self._out:
                self._beaten[place] = self._elimination(place, *why_beaten(odds, place, schedule.choice))

    def _odds(self) -> Odds:
        fits = {name: model.fit(self._rows[name]) for name, model in self._models().items()}
        limits = self._limits
        rates = [
            (fits["decode"], limits.min_decode_tps),
            (fits.get("prefill"), limits.min_prefill_tps),
            (fits.get("ttft"), None if limits.max_ttft_ms is None else 1 / limits.max_ttft_ms),
        ]
        speed = "decode" if self._rows["decode"] or not self._rows["prefill"] else "prefill"
        known = Known(
            speed=fits[speed],
            rates=[(fit, math.log(least)) for fit, least in rates if fit is not None and least is not None],
            memory_bytes=self._memory,
            n_rounds=self._n_rounds,
            out=[place in self._out for place in range(len(self.entries))],
        )
        return Odds(self.entries, limits, known, self._qualities, self._options.tie)

    def _models(self) -> dict[str, SpeedModel]:
        """Return the models of the rates that matter."""
        models = {"decode": self._decode}
        if self._limits.min_prefill_tps is not None or (self._rows["prefill"] and not self._rows["decode"]):
            models["prefill"] = self._prefill
        if self._limits.max_ttft_ms is not None:
            models["ttft"] = self._prefill
        return models


def _is_gone(step: Step, keys: set[str], levels: set[str]) -> bool:
    """Return whether a step is of no use: its entry is out, or none of its level is left."""
    return step.key in keys if isinstance(step, RoundStep) else step.level not in levels
