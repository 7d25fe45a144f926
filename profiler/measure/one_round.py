"""One round of one cell, in a process of its own: what a sweep and a pick both do, whatever they decide from it."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from profiler.analysis.memory_need import needed_bytes
from profiler.engine.memory_layout import offset_of
from profiler.measure.worker import Answer, Job
from profiler.records.config import Cell
from profiler.records.failure import Failure
from profiler.records.round import Round
from quant.base.units import format_bytes, utc_now
from quant.gguf_io.artifact import Artifact


class RoundOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What all rounds of one command have in common."""

    env_id: str
    reps: int
    seed: int
    target: float | None = None  # noted in each record
    force: bool = False  # run what is predicted not to fit in memory


class RoundTaker:
    """Measures rounds, and numbers them in the order of time."""

    def __init__(
        self,
        options: RoundOptions,
        *,
        run: Callable[[Job], Answer],
        available_bytes: Callable[[], int],
        first_order: int = 0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._run, self._available_bytes, self._now_s = options, run, available_bytes, now_s
        self._orders = itertools.count(first_order)

    def take(self, cell: Cell, number: int, file: tuple[Artifact, Path], offset_bytes: int | None = None) -> Round:
        """Measure a cell's round, counted from 0, and return it unwritten; without room in memory it is skipped.

        Args:
            offset_bytes: of the work buffer; None: the memory layout of this round's number.
        """
        record, job = self.prepare(cell, number, file, offset_bytes)
        if job is None:
            return record
        start_s = self._now_s()
        answer = self._run(job)
        return with_answer(record, answer, round((self._now_s() - start_s) * 1e9))

    def prepare(
        self, cell: Cell, number: int, file: tuple[Artifact, Path], offset_bytes: int | None = None
    ) -> tuple[Round, Job | None]:
        """Return a round's record without its answer, and the job that answers; none where memory has no room."""
        options, (artifact, path) = self._options, file
        record = Round(
            env_id=options.env_id,
            cell=cell,
            round=number,
            status="skipped",
            started_at=utc_now(),
            seed=options.seed,
            order=next(self._orders),
            target=options.target,
        )
        need, have = needed_bytes(artifact, cell.config), self._available_bytes()
        if need > have and not options.force:
            return msgspec.structs.replace(record, error=_lack_of_memory(need, have)), None
        return record, Job(
            path=str(path),
            config=cell.config,
            reps=options.reps,
            seed=options.seed,
            work_buffer_offset_bytes=offset_of(number) if offset_bytes is None else offset_bytes,
        )


def _lack_of_memory(need_bytes: int, have_bytes: int) -> Failure:
    return Failure(
        kind="memory",
        message=f"needs about {format_bytes(need_bytes)}, {format_bytes(have_bytes)} are available; close programs, "
        "lower --n-ctx or --ubatch, or run it anyway with --force",
    )


def with_answer(record: Round, answer: Answer, wall_ns: int | None) -> Round:
    """Return a round's record with what was measured, or the failure."""
    if answer.measured is None:
        failure = answer.failure or Failure(kind="worker", message="the worker sent no answer")
        return msgspec.structs.replace(record, status="failed", wall_ns=wall_ns, error=failure)
    return msgspec.structs.replace(
        record, status="ok", wall_ns=wall_ns, start_ns=answer.start_ns, **msgspec.structs.asdict(answer.measured)
    )
