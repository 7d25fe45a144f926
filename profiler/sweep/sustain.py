"""Sustained loads: one cell after the other, each in one process that takes request after request for a time.

A minute is a round: it is written as soon as it is over, so a kill loses no more than the one that has begun. What was
interrupted is kept and shown, and the next run of the same command measures that cell again from its first minute,
since a device that rested meanwhile is cool. Nothing is interleaved, repeated or compared with a reference cell: a
device that becomes slower is what is measured here.
"""

import math
from collections.abc import Sequence

import msgspec

from profiler.measure.loop import MINUTE_NS
from profiler.measure.one_round import RoundOptions, RoundTaker, with_answer
from profiler.measure.worker import Answer
from profiler.records.config import Cell
from profiler.records.round import Round
from profiler.sweep.plan import Plan, Turn, turns_of
from profiler.sweep.sweep import Outcome
from profiler.sweep.tools import RunMinutes, Tools


class SustainedSweep:
    """Measure each cell of a plan that has no whole run yet; `run` is called instead of the tools' own."""

    def __init__(self, plan: Plan, tools: Tools, run: RunMinutes) -> None:
        self._plan, self._tools, self._run = plan, tools, run
        options = plan.options
        earlier: dict[str, list[Round]] = {}
        for record in plan.history.trusted:
            earlier.setdefault(record.cell.key, []).append(record)
        self._earlier = earlier
        done = {(key, 0) for key, rounds in earlier.items() if any(map(is_last_minute, rounds))}
        self._cells = [turn.cell for turn in turns_of(plan.cells, done, rounds=1, seed=options.seed)]
        self._rounds = RoundTaker(
            RoundOptions(env_id=plan.environment.id, reps=options.reps, seed=options.seed, force=options.force),
            run=tools.run,
            available_bytes=tools.available_bytes,
            first_order=plan.history.next_order,
            now_s=tools.now_s,
        )

    def run(self) -> Outcome:
        """Measure until no cell is left, or the budget is used up; cells count where a sweep counts rounds."""
        view, options, begun_s = self._tools.view, self._plan.options, self._tools.now_s()
        minutes = [_n_minutes(cell) for cell in self._cells]
        view.started(sum(minutes), len(self._plan.cells) - len(self._cells))
        ended: list[str] = []
        for number, cell in enumerate(self._cells):
            if options.budget_s is not None and self._tools.now_s() - begun_s >= options.budget_s:
                break
            if ended and options.cooldown_s:
                self._tools.sleep(options.cooldown_s)
            ended.append(self._sustain(cell, 60.0 * sum(minutes[number + 1 :])))
        return Outcome(
            n_ok=ended.count("ok"),
            n_failed=ended.count("failed"),
            n_skipped=ended.count("skipped"),
            n_left=len(self._cells) - len(ended),
        )

    def _sustain(self, cell: Cell, others_s: float) -> str:
        """Measure one cell, and return the status of its last minute."""
        artifact = self._plan.artifact(cell)
        template, job = self._rounds.prepare(cell, 0, self._plan.files[cell.artifact_sha256])
        # A minute supersedes that of an interrupted run.
        before = [record.repeated for record in self._earlier.get(cell.key, ())]
        template = msgspec.structs.replace(template, repeated=max(before) + 1 if before else 0)
        since_s, number = self._tools.now_s(), 0

        def end(answer: Answer | None) -> Round:
            nonlocal since_s, number
            now_s, record = self._tools.now_s(), template
            if answer is not None:
                if answer.measured is not None and answer.measured.samples:
                    number = minute_of(answer.measured.samples[0].start_ns)
                record = with_answer(record, answer, round((now_s - since_s) * 1e9))
            record = msgspec.structs.replace(record, round=number)
            if number:
                record = _without_begin(record)
            since_s, number = now_s, number + 1
            self._tools.write(record)
            left_s = max(0, _n_minutes(cell) - number) * 60 + others_s
            self._tools.view.finished(record, artifact, left_s if record.status == "ok" else others_s)
            return record

        def on_minute(answer: Answer) -> None:
            end(answer)
            self._tools.view.turn(Turn(cell, number), artifact)

        self._tools.view.turn(Turn(cell, 0), artifact)
        return end(None if job is None else self._run(job, on_minute)).status


def minute_of(start_ns: int | None) -> int:
    """Return the minute of a sustained load, from 0, in which a request began."""
    return (start_ns or 0) // MINUTE_NS


def is_last_minute(record: Round) -> bool:
    """Return whether a round is the minute in which a sustained load came to its end."""
    ends: Sequence[int] = [sample.end_ns or 0 for sample in record.samples]
    return bool(ends) and max(ends) >= record.cell.config.sustain_s * 1_000_000_000


def _n_minutes(cell: Cell) -> int:
    return math.ceil(cell.config.sustain_s / 60)


def _without_begin(record: Round) -> Round:
    """Drop what the process did before its first request: the round of the first minute has it."""
    return msgspec.structs.replace(
        record, start_ns=None, load_ns=None, context_ns=None, tokenize_ns=None, warmup_ns=None, memory={}
    )
