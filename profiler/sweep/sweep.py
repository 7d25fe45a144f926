"""A sweep: rounds of all cells in a seeded random order, one process each, every round written as soon as it is done.

Rounds are interleaved so that drift of the machine does not look like an effect of a cell, and drift control
(drift_runner.py) shows between them whether it drifted. What is already in the results file is not measured again; a
failed round is tried again by the next run, and ends its cell for this one; a suspect round is tried again by both.
"""

import enum
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from profiler.analysis.memory_need import needed_bytes
from profiler.engine.memory_layout import offset_of
from profiler.measure.worker import Answer, Job
from profiler.records.config import Cell
from profiler.records.failure import Failure
from profiler.records.round import Round
from profiler.sweep.drift_runner import DriftRunner
from profiler.sweep.plan import Plan, Turn, turns_of
from profiler.sweep.stopping import Met, Stopping
from profiler.sweep.tools import Tools
from quant.base.units import format_bytes, utc_now


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
        self._orders = itertools.count(plan.history.next_order)
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
            record = self._measure(turn.cell, turn.round)
            self._tools.write(record)
            met = self._stopping.add(record)
            self._settle(turn, record, met)
            self._put_first(self._drift.after(record, next(self._ahead(), None)))
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
        """Measure one round of a cell in a process of its own; one that does not fit in memory is skipped.

        Rounds differ in memory layout; readings of the reference cell, which are compared one by one, do not.
        """
        artifact, path = self._plan.files[cell.artifact_sha256]
        record = Round(
            env_id=self._plan.environment.id,
            cell=cell,
            round=number,
            status="skipped",
            started_at=utc_now(),
            seed=self._options.seed,
            order=next(self._orders),
            target=self._options.target,
        )
        need, have = needed_bytes(artifact, cell.config), self._tools.available_bytes()
        if need > have and not self._options.force:
            return msgspec.structs.replace(record, error=_lack_of_memory(need, have))
        start_s = self._tools.now_s()
        answer = self._tools.run(
            Job(
                path=str(path),
                config=cell.config,
                reps=self._options.reps,
                seed=self._options.seed,
                work_buffer_offset_bytes=offset_of(number) if offset_bytes is None else offset_bytes,
            )
        )
        return _with_answer(record, answer, round((self._tools.now_s() - start_s) * 1e9))

    def _settle(self, turn: Turn, record: Round, met: Met | None) -> None:
        """Note how a turn ended, and whether its cell takes another."""
        if record.wall_ns is not None:
            self._wall_s.setdefault(turn.cell.key, []).append(record.wall_ns / 1e9)
        if record.status != "ok":
            self._states[turn.cell.key] = CellState(record.status)
            return
        self._measured.add(turn)
        self._states[turn.cell.key] = CellState.MET if met else CellState.WAITING

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


def _lack_of_memory(need_bytes: int, have_bytes: int) -> Failure:
    return Failure(
        kind="memory",
        message=f"needs about {format_bytes(need_bytes)}, {format_bytes(have_bytes)} are available; close programs, "
        "lower --n-ctx or --ubatch, or run it anyway with --force",
    )


def _with_answer(record: Round, answer: Answer, wall_ns: int) -> Round:
    if answer.measured is None:
        failure = answer.failure or Failure(kind="worker", message="the worker sent no answer")
        return msgspec.structs.replace(record, status="failed", wall_ns=wall_ns, error=failure)
    return msgspec.structs.replace(
        record, status="ok", wall_ns=wall_ns, start_ns=answer.start_ns, **msgspec.structs.asdict(answer.measured)
    )
