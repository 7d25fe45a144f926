"""The anchor at work: it is measured at fixed places of a sweep, and what was measured while it was off is marked.

Fixed places: at the beginning, after every round of all cells (after every second, third, ... where that would add more
than a tenth to the sweep's time), and at the end. A round in doubt is written once more with the doubt in it, which
supersedes the first record; when it is measured again, that record supersedes both. So a kill at any moment leaves
either a trusted round or one that says that it is not, and the next run of the same command measures the latter again.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from profiler.analysis.flags import throttling_of
from profiler.records.config import Cell
from profiler.records.record import AnchorRound, Doubt, Record, Round
from profiler.sweep.drift_control import (
    LEAST_TIMED_NS,
    N_OPENING,
    REST_LIMIT_S,
    REST_S,
    Anchor,
    Reading,
    Step,
    cost_s,
    rank,
    reading_of,
    spacing,
)
from quant.gguf_io.artifact import Artifact

MAX_TRIES = 3  # of one round in one sweep
_MAX_CANDIDATES = 3


class Planned(Protocol):
    """A turn of the sweep."""

    @property
    def cell(self) -> Cell:
        """What is measured."""

    @property
    def round(self) -> int:
        """Which time."""


class Guard:
    """Watch one sweep by its anchor. Without one (few turns, or switched off) every call does nothing."""

    def __init__(
        self,
        turns: Sequence[Planned],
        artifacts: Mapping[str, Artifact],
        *,
        on: bool,
        reps: int,
        seed: int,
        cooldown_s: float,
        earlier: Sequence[Round],
        measure: Callable[[Cell, int], Round],
        write: Callable[[Record], None],
        sleep: Callable[[float], None],
        say: Callable[[str], None],
        time_left_s: Callable[[], float],
    ) -> None:
        self._measure, self._write, self._sleep, self._say = measure, write, sleep, say
        self._time_left_s, self._earlier = time_left_s, earlier
        self._rest = {
            "rest_s": max(REST_S, cooldown_s),
            "limit_s": max(REST_LIMIT_S, 10 * cooldown_s),
        }
        self._cell: Cell | None = None
        self._anchor = Anchor()
        self._artifacts = artifacts
        self._n_runs = sum(isinstance(record, AnchorRound) for record in earlier)
        self._since: list[Round] = []  # that no good reading has followed yet
        self._kept: list[Round] = []  # of this sweep, that a good reading followed
        self._tries: Counter[tuple[str, int]] = Counter()
        self._n_passed = 0  # ends of rounds since the last reading
        self._candidates: list[tuple[Cell, int]] = []
        cells = {turn.cell.key: turn.cell for turn in turns}
        if not on or len(cells) < 2:
            return
        costs = {key: cost_s(artifacts[cell.artifact_sha256], cell, reps) for key, cell in cells.items()}
        turn_costs = [costs[turn.cell.key] for turn in turns]
        n_rounds = len({turn.round for turn in turns})
        files: set[str] = set()
        for cell in rank(cells.values(), lambda each: costs[each.key], seed):
            every = spacing(turn_costs, n_rounds, costs[cell.key])
            if every is None or len(self._candidates) == _MAX_CANDIDATES:
                break
            if cell.artifact_sha256 not in files:  # a file that cannot be measured is so under any setting
                files.add(cell.artifact_sha256)
                self._candidates.append((cell, every))

    def begin(self) -> list[tuple[Cell, int]]:
        """Find a cell that can be measured, and take its opening level, or that of the run before.

        Gives what is to be measured again: what a run before measured last, where it was killed before the anchor.
        """
        repeat: list[tuple[Cell, int]] = []
        seen = [record for record in self._earlier if isinstance(record, AnchorRound)]
        for cell, every in self._candidates:
            known = [reading for record in seen if record.cell == cell if (reading := reading_of(record))]
            self._cell, self._every, self._anchor = cell, every, Anchor(opening=known[:N_OPENING], **self._rest)
            if len(known) >= N_OPENING:
                last = max(record.order for record in seen if record.cell == cell)
                self._since = [record for record in self._earlier if record not in seen and record.order > last]
            artifact = self._artifacts[cell.artifact_sha256]
            places = "every round" if every == 1 else f"every {every} rounds"
            self._say(
                f"the anchor is {artifact.model} {artifact.level} t{cell.config.n_threads} {cell.config.workload}: "
                f"measured now, after {places} and at the end, to see whether the device holds its speed"
            )
            if self._check(repeat):
                return repeat
        self._cell = None
        return []

    def after(self, record: Round, upcoming: Planned | None) -> list[tuple[Cell, int]]:
        """Hear of a round; at a place of the anchor measure it, and give what is to be measured again now."""
        if self._cell is None:
            return []
        if record.status == "ok":
            self._since.append(record)
            self._tries[record.cell.key, record.round] += 1
        if upcoming is not None and upcoming.round == record.round:
            return []
        self._n_passed += 1
        if upcoming is not None and self._n_passed < self._every:
            return []
        repeat: list[tuple[Cell, int]] = []
        self._check(repeat)
        return repeat

    def end(self) -> None:
        """Measure the anchor a last time where a budget ended the sweep between two of its places."""
        if self._cell is not None and self._since:
            self._check()

    def _check(self, repeat: list[tuple[Cell, int]] | None = None) -> bool:
        """Measure the anchor until there is a decision; False where it cannot be measured."""
        self._n_passed = 0
        while True:
            reading = self._read()
            if reading is None:
                self._cell = None
                return False
            step = self._anchor.hear(reading, self._time_left_s())
            if not step.measure:
                break
            if step.say:
                self._say(f"{step.say} for {step.rest_s:.0f} s")
            if step.rest_s:
                self._sleep(step.rest_s)
        self._settle(step, repeat)
        return True

    def _read(self) -> Reading | None:
        assert self._cell is not None
        record = self._measure(self._cell, self._n_runs)
        self._n_runs += 1
        self._write(AnchorRound(**{name: getattr(record, name) for name in Round.__struct_fields__}))
        if record.error is not None:
            self._say(f"the anchor could not be measured ({record.error.message})")
            if record.error.kind == "timeout":
                self._candidates.clear()  # dearer ones would take as long
            return None
        reading = reading_of(record, throttling_of([record]))
        if reading is None or sum(reading.times_ns) < LEAST_TIMED_NS:
            took_ms = sum(reading.times_ns) / 1e6 if reading else 0
            self._say(
                f"the cheapest cell is timed for {took_ms:.0f} ms only, too short to tell by it whether the device "
                "holds its speed: the sweep goes without an anchor"
            )
            self._candidates.clear()
            return None
        return reading

    def _settle(self, step: Step, repeat: list[tuple[Cell, int]] | None) -> None:
        doubted = [*self._kept, *self._since] if step.all_rounds else self._since
        again = []
        if step.doubt is not None:
            for record in doubted:
                self._write(msgspec.structs.replace(record, doubt=_also_of_its_own(step.doubt, record)))
                again.append((record.cell, record.round))
        if step.repeat and repeat is not None:
            unique = {(cell.key, number): (cell, number) for cell, number in again}
            repeat += [turn for tried, turn in unique.items() if self._tries[tried] < MAX_TRIES]
        if step.say:
            self._say(step.say + _about(len(again), len(repeat or ())))
        if step.doubt is None:
            self._kept += self._since
        elif step.all_rounds:
            self._kept = []
        self._since = []


def _also_of_its_own(doubt: Doubt, record: Round) -> Doubt:
    """Name it throttled where the system said so of the round itself."""
    word = throttling_of([record])
    if word is None or doubt.name == "throttled":
        return doubt
    return Doubt(name="throttled", message=f"{doubt.message} ({word})")


def _about(n_doubted: int, n_repeated: int) -> str:
    if not n_doubted:
        return ""
    rounds = f"{n_doubted} round{'' if n_doubted == 1 else 's'}"
    if n_repeated == n_doubted:
        return f"; {rounds} measured meanwhile {'is' if n_doubted == 1 else 'are'} marked and measured again"
    if n_repeated:
        return f"; {rounds} measured meanwhile are marked, {n_repeated} of them measured again"
    return f"; {rounds} measured meanwhile {'stays' if n_doubted == 1 else 'stay'} marked"
