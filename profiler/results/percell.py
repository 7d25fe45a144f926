"""One figure, one summary, one row per cell: worked out cell by cell, for many rounds in a process for each CPU."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec

from profiler.records.record import Environment, Round
from profiler.results import background as asides
from profiler.results.file import Results, decode_round
from profiler.results.stored import MANY_ROUNDS, Line, StoredRounds, at_places, places_of
from quant.base.child import run_child
from quant.base.cpus import usable_cpus
from quant.gguf_io.artifact import Artifact

T = TypeVar("T")
Work = Callable[[Sequence[Round], Artifact, Environment | None], T]

_MOST_PROCESSES = 4


class Task(NamedTuple, Generic[T]):
    """What to do with the rounds of a cell, and what that gives."""

    name: str  # under which a process finds it
    work: Work[T]
    kind: type[T]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Some cells for a process."""

    task: str
    paths: list[str]
    cells: list[list[Line]]
    artifacts: dict[str, Artifact]
    environments: dict[str, Environment]


def map_cells(results: Results, task: Task[T]) -> list[T]:
    """Do the task for each cell, in the order in which they first come.

    Raises:
        UserError: a line is no round of this program.
    """
    rounds, cells = results.rounds, list(places_of(results.rounds).values())
    n_processes = min(_MOST_PROCESSES, usable_cpus())
    if not isinstance(rounds, StoredRounds) or len(rounds) < MANY_ROUNDS or n_processes < 2:
        return _here(results, task, cells)
    each = -(-len(cells) // n_processes)
    parts = [cells[first : first + each] for first in range(0, len(cells), each)]
    begun = [asides.begin(partial(_elsewhere, results, rounds, task, part)) for part in parts]
    made = [each.result() for each in begun]
    # What failed there is done here, where an error has its words.
    return [one for found, part in zip(made, parts, strict=True) for one in found or _here(results, task, part)]


def _here(results: Results, task: Task[T], cells: Sequence[Sequence[int]]) -> list[T]:
    return [
        work_on(task, rounds, results.artifacts, results.environments) for rounds in at_places(results.rounds, cells)
    ]


def work_on(
    task: Task[T], rounds: Sequence[Round], artifacts: Mapping[str, Artifact], environments: Mapping[str, Environment]
) -> T:
    """Do the task for one cell."""
    first = rounds[0]
    return task.work(rounds, artifacts[first.cell.artifact_sha256], environments.get(first.env_id))


def _elsewhere(results: Results, rounds: StoredRounds, task: Task[T], cells: Sequence[Sequence[int]]) -> list[T] | None:
    job = Job(
        task=task.name,
        paths=[str(path.absolute()) for path in rounds.paths],
        cells=[[rounds.lines[place] for place in places] for places in cells],
        artifacts=results.artifacts,
        environments=results.environments,
    )
    output, ending = run_child("profiler.results.percell_worker", job, timeout_s=None)
    if ending.status != 0:
        return None
    try:
        return msgspec.json.decode(output, type=list[task.kind])  # type: ignore[name-defined]
    except msgspec.DecodeError:
        return None


def read_job(job: Job) -> StoredRounds:
    """Give the rounds of a job, one cell after the other."""
    rounds = StoredRounds([Path(path) for path in job.paths], decode_round)
    rounds.lines = [line for lines in job.cells for line in lines]
    return rounds
