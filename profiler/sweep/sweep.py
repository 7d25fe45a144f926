"""A sweep: rounds of all cells in a seeded random order, one process each, every round written as soon as it is done.

Rounds are interleaved so that drift of the machine does not look like an effect of a cell, and drift control
(drift_runner.py) shows between them whether it drifted. Rounds that others disturbed are measured again (repeats.py).
What is already in the results file is not measured again; a failed round is tried again by the next run, and ends its
cell for this one; a suspect round is tried again by both.
"""

import enum
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from profiler.measure.one_round import RoundOptions, RoundTaker
from profiler.records.config import Cell
from profiler.records.round import Round
from profiler.sweep.drift_runner import DriftRunner
from profiler.sweep.plan import Plan, Turn, turns_of
from profiler.sweep.repeats import Repeats
from profiler.sweep.stopping import Met, Stopping
from profiler.sweep.tools import Tools


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a sweep ended."""

    n_ok: int
    n_failed: int
    n_skipped: int
    n_left: int  # turns that the budget left over


class CellState(enum.Enum):
    """Where a cell is. One that is not waiting takes no further turn."""

    WAITING = "waiting"
    MET = "met"  # its target
    FAILED = "failed"
    SKIPPED = "skipped"  # it does not fit in memory


class Sweep:
    """Do every turn of a plan that is not done, and write each one's record before the next begins."""

    def __init__(self, plan: Plan, tools: Tools) -> None:
        self._plan, self._options, self._tools = plan, plan.options, tools
        self._stopping = Stopping(plan.options.target, plan.options.rounds, plan.history.trusted)
        done = {(record.cell.key, record.round) for record in plan.history.trusted}
        self._states = {
            cell.key: CellState.MET if cell.key in self._stopping.met else CellState.WAITING for cell in plan.cells
        }
        open_cells = [cell for cell in plan.cells if self._is_open(cell)]
        self._queue = deque(turns_of(open_cells, done, rounds=self._options.rounds, seed=self._options.seed))
        self._n_done = sum((cell.key, number) in done for cell in plan.cells for number in range(self._options.rounds))
        self._measured: set[Turn] = set()
        self._wall_s: dict[str, list[float]] = {}  # by the cell's key
        self._rounds = RoundTaker(
            RoundOptions(
                env_id=plan.environment.id,
                reps=self._options.reps,
                seed=self._options.seed,
                target=self._options.target,
                force=self._options.force,
            ),
            run=tools.run,
            available_bytes=tools.available_bytes,
            first_order=plan.history.next_order,
            now_s=tools.now_s,
        )
        self._repeats = Repeats(plan.options.patience)
        self._begun_s = tools.now_s()
        self._drift = DriftRunner(
            plan,
            tuple(self._queue),
            tools,
            measure=partial(self._measure, offset_bytes=0),
            time_left_s=self._budget_left_s,
        )

    def run(self) -> Outcome:
        """Measure until no turn is left, or the budget is used up."""
        self._tools.view.started(len(self._queue), self._n_done)
        self._put_first(self._drift.begin())
        while (turn := self._next_turn()) is not None:
            self._tools.view.turn(turn, self._plan.artifact(turn.cell))
            written = self._repeats.settle(turn, self._measure(turn.cell, turn.round))
            for each in written:
                self._tools.write(each)
            record = written[-1]
            met = self._stopping.add(record)
            self._settle(turn, record, met)
            self._repeat(record)
            self._report(turn, record, met)
            self._cool_down(record)
        self._drift.end()
        return self._outcome()

    def _next_turn(self) -> Turn | None:
        """Take the next turn of an open cell from the queue; None at the end, or when the budget is used up."""
        while self._queue and not self._is_open(self._queue[0].cell):
            self._queue.popleft()
        if not self._queue or self._budget_left_s() <= 0:
            return None
        return self._queue.popleft()

    def _measure(self, cell: Cell, number: int, offset_bytes: int | None = None) -> Round:
        """Measure one round. Readings of the reference cell, which are compared one by one, share a memory layout."""
        return self._rounds.take(cell, number, self._plan.files[cell.artifact_sha256], offset_bytes)

    def _settle(self, turn: Turn, record: Round, met: Met | None) -> None:
        """Note how a turn ended, and whether its cell takes another."""
        if record.wall_ns is not None:
            self._wall_s.setdefault(turn.cell.key, []).append(record.wall_ns / 1e9)
        if record.status != "ok":
            self._states[turn.cell.key] = CellState(record.status)
            return
        self._measured.add(turn)
        self._states[turn.cell.key] = CellState.MET if met else CellState.WAITING

    def _repeat(self, record: Round) -> None:
        """Put first what was disturbed, and where drift control looks, what was measured at another speed."""
        if self._budget_left_s() > 0:
            self._put_first(self._repeats.due(next(self._ahead(), None)))
        if turns := self._drift.after(record, next(self._ahead(), None)):
            self._repeats.forget()
            self._put_first(turns)

    def _put_first(self, turns: Sequence[Turn]) -> None:
        """Put rounds that are to be measured again at the front of the queue."""
        self._queue.extendleft(reversed(turns))
        for turn in turns:
            self._measured.discard(turn)
            self._stopping.withdraw(turn.cell.key, turn.round)
            if self._states[turn.cell.key] is CellState.MET:
                self._states[turn.cell.key] = CellState.WAITING
        if turns:
            self._tools.view.more(len(turns))

    def _report(self, turn: Turn, record: Round, met: Met | None) -> None:
        view, artifact = self._tools.view, self._plan.artifact(turn.cell)
        ahead = (later.cell.key for later in self._ahead())
        view.finished(record, artifact, time_left_s(ahead, self._wall_s, self._options.cooldown_s))
        if met and self._states[turn.cell.key] is CellState.MET:
            n_spared = sum(later.cell.key == turn.cell.key for later in self._queue)
            view.met(turn, artifact, met, n_spared)

    def _cool_down(self, record: Round) -> None:
        """Rest between two turns."""
        if self._options.cooldown_s and record.status != "skipped" and any(self._ahead()):
            self._tools.sleep(self._options.cooldown_s)

    def _ahead(self) -> Iterator[Turn]:
        """Walk the turns ahead, those of closed cells excepted."""
        return (turn for turn in self._queue if self._is_open(turn.cell))

    def _is_open(self, cell: Cell) -> bool:
        return self._states[cell.key] is CellState.WAITING

    def _budget_left_s(self) -> float:
        budget_s = self._options.budget_s
        return math.inf if budget_s is None else budget_s - (self._tools.now_s() - self._begun_s)

    def _outcome(self) -> Outcome:
        states = list(self._states.values())
        return Outcome(
            n_ok=len(self._measured),
            n_failed=states.count(CellState.FAILED),
            n_skipped=states.count(CellState.SKIPPED),
            n_left=sum(1 for _ in self._ahead()),
        )


def time_left_s(ahead: Iterable[str], wall_s: Mapping[str, Sequence[float]], cooldown_s: float) -> float | None:
    """Estimate what the turns ahead, named by their cells' keys, take: a cell's own mean, else the mean of all."""
    if not wall_s:
        return None
    own = {key: sum(times) / len(times) for key, times in wall_s.items()}
    mean = sum(own.values()) / len(own)
    return sum(own.get(key, mean) + cooldown_s for key in ahead)
