"""A sweep: rounds of all cells in a seeded random order, one process each, every round kept as soon as it is done.

Rounds are interleaved so that drift of the machine does not look like an effect of a cell, and an anchor between them
tells whether it drifted (guard.py). What is already in the results file is not measured again; a failed round is tried
again by the next run, and ends its cell for this one; a round in doubt is tried again by both.
"""

import itertools
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from profiler.analysis.memory_need import needed_bytes
from profiler.measure.worker import Answer, Job
from profiler.records.config import Cell
from profiler.records.record import AnchorRound, Environment, Failure, Record, Round
from profiler.sweep.drift_runner import Guard
from profiler.sweep.stopping import Met, Stopping
from quant.base.units import format_bytes
from quant.gguf_io.artifact import Artifact


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a sweep goes; none of it changes what a cell is."""

    rounds: int = 6
    reps: int = 3
    seed: int = 0
    timeout_s: float | None = 1800.0
    cooldown_s: float = 0.0
    target: float | None = None  # a cell whose intervals are within this share of the median takes no further round
    budget_s: float | None = None  # no round is begun after this time
    force: bool = False  # measure although memory will not suffice
    anchor: bool = False  # watch the device by a cell that is measured again and again


class Turn(msgspec.Struct, frozen=True):
    """One round of one cell that is still to be done."""

    cell: Cell
    round: int


class View(Protocol):
    """Who looks on: the command line's progress, or a test's list."""

    def started(self, n_turns: int, n_done: int) -> None:
        """Hear how many turns there are to do, and how many were done before."""

    def more(self, n_turns: int) -> None:
        """Hear that turns were added: rounds that are measured again."""

    def turn(self, turn: Turn, artifact: Artifact) -> None:
        """Hear what is measured now."""

    def finished(self, record: Round, artifact: Artifact, left_s: float | None) -> None:
        """Hear how the turn ended, and about how long the others will take."""

    def met(self, turn: Turn, artifact: Artifact, met: Met, n_spared: int) -> None:
        """Hear that the turn's cell has met its target, and how many turns that spares."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a sweep ended."""

    n_ok: int
    n_failed: int
    n_skipped: int
    n_left: int  # turns that the budget left over


def turns_left(cells: Sequence[Cell], done: set[tuple[str, int]], *, rounds: int, seed: int) -> list[Turn]:
    """Order what is to be done: round by round, the cells of each in an order of its own that the seed fixes."""
    turns = []
    for round_index in range(rounds):
        order = sorted(cells, key=lambda cell: cell.key)
        # A string seeds the same order in every Python version and on every machine.
        random.Random(f"{seed}:{round_index}").shuffle(order)
        turns += [Turn(cell, round_index) for cell in order if (cell.key, round_index) not in done]
    return turns


def run_sweep(
    cells: Sequence[Cell],
    files: Mapping[str, tuple[Artifact, Path]],
    environment: Environment,
    *,
    done: set[tuple[str, int]],
    first_order: int,
    options: Options,
    write: Callable[[Record], None],
    run: Callable[[Job], Answer],
    available_bytes: Callable[[], int],
    view: View,
    stopping: Stopping | None = None,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    earlier: Sequence[Round] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Do every turn that is not done, and write each one's record before the next begins.

    `files` maps a file's sha256 to its facts and its path; `done` holds (cell key, round) that are in the results
    already, and `earlier` the anchor's rounds there and those that are trusted. `stopping` has been told of the latter;
    a cell that meets its target takes no further turn.
    """
    met = stopping.met if stopping else {}
    wanted = [cell for cell in cells if cell.key not in met]
    turns = turns_left(wanted, done, rounds=options.rounds, seed=options.seed)
    view.started(len(turns), sum((cell.key, index) in done for cell in cells for index in range(options.rounds)))
    begun_s = now_s()
    counts = {"ok": 0, "failed": 0, "skipped": 0}
    given_up: dict[str, str] = {}  # by the cell's key: what its last turn came to, "met" where it met its target
    wall_s: dict[str, list[float]] = {}
    n_left = 0
    orders = itertools.count(first_order)

    def left_s() -> float:
        return math.inf if options.budget_s is None else options.budget_s - (now_s() - begun_s)

    def measured(cell: Cell, number: int) -> Round:
        artifact, path = files[cell.artifact_sha256]
        record = Round(
            env_id=environment.id,
            cell=cell,
            round=number,
            status="skipped",
            started_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            seed=options.seed,
            order=next(orders),
            target=stopping.target if stopping else None,
        )
        if (lack := _lack_of_memory(artifact, cell, available_bytes)) and not options.force:
            return msgspec.structs.replace(record, error=Failure(kind="memory", message=lack))
        start_s = now_s()
        answer = run(Job(path=str(path), config=cell.config, reps=options.reps, seed=options.seed))
        return _with_answer(record, answer, round((now_s() - start_s) * 1e9))

    guard = Guard(
        turns,
        {sha256: artifact for sha256, (artifact, _) in files.items()},
        on=options.anchor,
        reps=options.reps,
        seed=options.seed,
        cooldown_s=options.cooldown_s,
        earlier=[record for record in earlier if isinstance(record, AnchorRound) or record.cell in cells],
        measure=measured,
        write=write,
        sleep=sleep,
        say=say,
        time_left_s=left_s,
    )

    def again(place: int, rounds: Sequence[tuple[Cell, int]]) -> None:
        turns[place:place] = [Turn(cell, number) for cell, number in rounds]
        view.more(len(rounds))

    again(0, guard.begin())
    for index, turn in enumerate(turns):
        key = turn.cell.key
        if key in given_up:
            continue
        if left_s() <= 0:
            n_left = sum(1 for later in turns[index:] if later.cell.key not in given_up)
            break
        artifact, _ = files[turn.cell.artifact_sha256]
        view.turn(turn, artifact)
        record = measured(turn.cell, turn.round)
        if record.wall_ns is not None:
            wall_s.setdefault(key, []).append(record.wall_ns / 1e9)
        if record.status != "ok":
            given_up[key] = record.status
        counts[record.status] += 1
        write(record)
        just_met = stopping.add(record) if stopping else None
        if just_met:
            given_up[key] = "met"
        upcoming = next((later for later in turns[index + 1 :] if later.cell.key not in given_up), None)
        if repeat := guard.after(record, upcoming):
            again(index + 1, repeat)
            counts["ok"] -= len(repeat)
            for cell, number in repeat:
                if stopping:
                    stopping.withdraw(cell.key, number)
                if given_up.get(cell.key) == "met":
                    del given_up[cell.key]
        ahead = [later.cell.key for later in turns[index + 1 :] if later.cell.key not in given_up]
        view.finished(record, artifact, time_left_s(ahead, wall_s, options.cooldown_s))
        if just_met and key in given_up:
            view.met(turn, artifact, just_met, sum(later.cell.key == key for later in turns[index + 1 :]))
        if ahead and options.cooldown_s and record.status != "skipped":
            sleep(options.cooldown_s)
    guard.end()
    return Outcome(n_ok=counts["ok"], n_failed=counts["failed"], n_skipped=counts["skipped"], n_left=n_left)


def time_left_s(ahead: Sequence[str], wall_s: Mapping[str, Sequence[float]], cooldown_s: float) -> float | None:
    """Estimate what the turns ahead take: a cell's own mean where it ran already, else the mean of all."""
    if not wall_s:
        return None
    own = {key: sum(times) / len(times) for key, times in wall_s.items()}
    mean = sum(own.values()) / len(own)
    return sum(own.get(key, mean) + cooldown_s for key in ahead)


def _lack_of_memory(artifact: Artifact, cell: Cell, available_bytes: Callable[[], int]) -> str | None:
    need, have = needed_bytes(artifact, cell.config), available_bytes()
    if need <= have:
        return None
    return (
        f"needs about {format_bytes(need)}, {format_bytes(have)} are available; "
        "close programs, lower --n-ctx or --ubatch, or measure anyway with --force"
    )


def _with_answer(record: Round, answer: Answer, wall_ns: int) -> Round:
    if answer.measured is None:
        failure = answer.failure or Failure(kind="worker", message="the worker gave no answer")
        return msgspec.structs.replace(record, status="failed", wall_ns=wall_ns, error=failure)
    found = answer.measured
    return msgspec.structs.replace(
        record,
        status="ok",
        wall_ns=wall_ns,
        start_ns=answer.start_ns,
        load_ns=found.load_ns,
        context_ns=found.context_ns,
        tokenize_ns=found.tokenize_ns,
        warmup_ns=found.warmup_ns,
        samples=found.samples,
        memory=found.memory,
        buffers=found.buffers,
        in_force=found.in_force,
    )
