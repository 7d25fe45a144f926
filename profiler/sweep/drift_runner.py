"""Drift control at work: measure the reference cell at fixed places of a sweep, and mark the rounds that are suspect.

Fixed places: at the beginning, after every round of all cells (after every second, third, ... where that would add more
than a tenth to the sweep's time), and at the end. A suspect round is written once more with its mark, which supersedes
the first record; when it is measured again, that record supersedes both. So a kill at any moment leaves either a
trusted round or one that is marked, and the next run of the same command measures the latter again.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence

import msgspec

from profiler.analysis.disturbance import throttling_of
from profiler.records.config import Cell
from profiler.records.failure import Doubt
from profiler.records.round import AnchorRound, Round
from profiler.sweep.drift_control import (
    LEAST_TIMED_NS,
    REST_LIMIT_S,
    REST_S,
    Decision,
    DriftControl,
    Reading,
    reading_of,
)
from profiler.sweep.plan import Plan, Turn
from profiler.sweep.reference_cell import N_OPENING, Reference, candidates
from profiler.sweep.tools import Tools
from quant.base.progress import say
from quant.base.text import counted

MAX_TRIES = 3  # of one round in one sweep


class DriftRunner:
    """Watch one sweep by its reference cell. Without one (few turns, or disabled) every call does nothing.

    Args:
        measure: measures a cell's round, counted from 0, and returns it unwritten.
    """

    def __init__(
        self,
        plan: Plan,
        turns: Sequence[Turn],
        tools: Tools,
        *,
        measure: Callable[[Cell, int], Round],
        time_left_s: Callable[[], float],
    ) -> None:
        self._plan, self._tools = plan, tools
        self._measure, self._time_left_s = measure, time_left_s
        self._candidates = deque(candidates(plan, turns) if plan.options.drift_control else ())
        self._reference: Reference | None = None
        self._control = DriftControl()
        self._n_readings = len(plan.history.drift)
        self._n_passed = 0  # ends of rounds since the last reading
        self._unconfirmed: list[Round] = []  # no good reading has followed yet
        self._confirmed: list[Round] = []
        self._tries: Counter[Turn] = Counter()

    def begin(self) -> list[Turn]:
        """Find a cell that can be measured, and take its opening level, or that of the run before.

        Returns:
            What to measure again: what the run before measured last, if it was killed before a reading.
        """
        while self._candidates:
            self._open(self._candidates.popleft())
            repeat = self._check()
            if self._reference is not None:
                return repeat
        return []

    def after(self, record: Round, upcoming: Turn | None) -> list[Turn]:
        """Take note of a round; at a fixed place measure the reference cell.

        Returns:
            What to measure again now.
        """
        if self._reference is None:
            return []
        if record.status == "ok":
            turn = Turn(record.cell, record.round)
            # Of a round that was measured again only the record that counts.
            self._unconfirmed = [each for each in self._unconfirmed if Turn(each.cell, each.round) != turn]
            self._unconfirmed.append(record)
            self._tries[turn] += 1
        if upcoming is not None and upcoming.round == record.round:
            return []
        self._n_passed += 1
        if upcoming is not None and self._n_passed < self._reference.every:
            return []
        return self._check()

    def end(self) -> None:
        """Measure the reference cell a last time where a budget ended the sweep between two fixed places."""
        if self._reference is not None and self._unconfirmed:
            self._check(may_repeat=False)

    def _open(self, reference: Reference) -> None:
        """Take a cell as the reference, and its level from the run before where that has one."""
        history, options, cell = self._plan.history, self._plan.options, reference.cell
        seen = [record for record in history.drift if record.cell == cell]
        readings = [reading for record in seen if (reading := reading_of(record))]
        self._reference = reference
        self._control = DriftControl(
            opening=readings[:N_OPENING],
            rest_s=max(REST_S, options.cooldown_s),
            limit_s=max(REST_LIMIT_S, 10 * options.cooldown_s),
        )
        if len(readings) >= N_OPENING:
            last = max(record.order for record in seen)
            self._unconfirmed = [
                record for record in history.trusted if record.order > last and record.cell in self._plan.cells
            ]
        artifact = self._plan.artifact(cell)
        places = "every round" if reference.every == 1 else f"every {reference.every} rounds"
        say(
            f"drift control: the reference cell is {artifact.model} {artifact.level} t{cell.config.n_threads} "
            f"{cell.config.workload}, measured now, after {places} and at the end"
        )

    def _check(self, *, may_repeat: bool = True) -> list[Turn]:
        """Measure the reference cell until there is a decision; without one there is no reference any longer."""
        self._n_passed = 0
        while (reading := self._read()) is not None:
            decision = self._control.decide(reading, self._time_left_s())
            if not decision.measure:
                return self._carry_out(decision, may_repeat)
            if decision.message:
                say(f"{decision.message} for {decision.rest_s:.0f} s")
            if decision.rest_s:
                self._tools.sleep(decision.rest_s)
        self._reference = None
        return []

    def _read(self) -> Reading | None:
        """Measure the reference cell once; None where that cannot be done, or its time is too short."""
        assert self._reference is not None
        record = self._measure(self._reference.cell, self._n_readings)
        self._n_readings += 1
        anchor = AnchorRound(**{name: getattr(record, name) for name in Round.__struct_fields__})
        self._tools.write(anchor)
        self._tools.view.reference(anchor)
        if record.error is not None:
            say(f"drift control: the reference cell could not be measured ({record.error.message})")
            if record.error.kind == "timeout":
                self._candidates.clear()  # more expensive ones would take as long
            return None
        reading = reading_of(record, throttling_of([record]))
        timed_ns = sum(reading.times_ns) if reading else 0
        if timed_ns < LEAST_TIMED_NS:
            say(
                f"drift control is off: the cheapest cell is timed for {timed_ns / 1e6:.0f} ms only, too short to show "
                "whether the device holds its speed"
            )
            self._candidates.clear()
            return None
        return reading

    def _carry_out(self, decision: Decision, may_repeat: bool) -> list[Turn]:
        """Mark what is suspect, and return what to measure again."""
        suspect: list[Round] = []
        if decision.suspect is not None:
            suspect = [*self._confirmed, *self._unconfirmed] if decision.all_rounds else self._unconfirmed
            for record in suspect:
                self._tools.write(msgspec.structs.replace(record, doubt=_mark(decision.suspect, record)))
        repeat: list[Turn] = []
        if decision.remeasure and may_repeat:
            turns = dict.fromkeys(Turn(record.cell, record.round) for record in suspect)
            repeat = [turn for turn in turns if self._tries[turn] < MAX_TRIES]
        if decision.message:
            say(decision.message + _about(len(suspect), len(repeat)))
        if decision.suspect is None:
            self._confirmed += self._unconfirmed
        elif decision.all_rounds:
            self._confirmed = []
        self._unconfirmed = []
        return repeat


def _mark(doubt: Doubt, record: Round) -> Doubt:
    """Name it throttled where the system reported that of the round itself."""
    throttled = throttling_of([record])
    if throttled is None or doubt.name == "throttled":
        return doubt
    return Doubt(name="throttled", message=f"{doubt.message} ({throttled})", slowdown=doubt.slowdown)


def _about(n_suspect: int, n_repeated: int) -> str:
    if not n_suspect:
        return ""
    rounds = counted(n_suspect, "round")
    if n_repeated == n_suspect:
        return f"; {rounds} measured meanwhile {'is' if n_suspect == 1 else 'are'} marked and measured again"
    if n_repeated:
        return f"; {rounds} measured meanwhile are marked, {n_repeated} of them measured again"
    return f"; {rounds} measured meanwhile {'stays' if n_suspect == 1 else 'stay'} marked"
