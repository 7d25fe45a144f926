"""Measure the survey's stages within a budget: files are made, swept, observed and deleted."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from plots.survey.estimates import WORKLOAD, Board
from plots.survey.plan import LEVEL, ROUNDS, Piece, Stage, SurveyModels, left_of, stages
from plots.survey.records import Shares
from profiler.analysis.stats import span_of
from profiler.analysis.summarise import summarise
from profiler.device.environment import available_memory_bytes
from profiler.operators.collect import config_of
from profiler.operators.correct import Constants
from profiler.operators.launch import observe_in_child
from profiler.operators.records import Group, ObservationSettings, PhaseObservation
from profiler.operators.report import report_of
from profiler.operators.summary import shares_by_run
from profiler.records.cell_summary import CellSummary
from profiler.records.environment import Environment
from profiler.records.round import Round
from profiler.records.span import Span
from profiler.results.file import Results, read_results
from profiler.sweep.grid import Axes
from profiler.sweep.plan import Options
from profiler.sweep.session import Request, run_session
from profiler.sweep.tools import View
from quant.base.errors import UserError
from quant.base.files import write_text
from quant.base.progress import say
from quant.base.units import format_bytes
from quant.convert.provenance import note_of
from quant.sources.prepare import Prepared, PrepareOptions, prepare

_TIMEOUT_S = 1800.0
_PATIENCE = 0.3
_OBSERVED = ObservationSettings(n_prefill=WORKLOAD.n_prompt, n_depth=0, n_gen=8, reps=ROUNDS, seed=0)
_PRODUCTS = ("MUL_MAT", "MUL_MAT_ID")
_SUSTAINED_SHARE = 1 / 6  # of the budget
_SUSTAINED_S = (60, 900)  # the shortest that shows anything, and the longest


class Watch(NamedTuple):
    """Whoever watches: a view of each sweep, and what is around the making of files."""

    view: Callable[[], AbstractContextManager[View]]
    making: Callable[[], AbstractContextManager[object]]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """How measuring ended."""

    n_failed: int = 0
    is_over_budget: bool = False


class Measuring(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured, and where it goes."""

    models: SurveyModels
    board: Board
    environment: Environment
    folder: Path
    budget_s: float
    need_bytes: dict[Piece, int]  # estimated

    @property
    def results(self) -> Path:
        """The results file."""
        return self.folder / "results.jsonl"

    def stored(self) -> Results:
        """Return what is measured so far; nothing before the first round."""
        return read_results([self.results]) if self.results.exists() else Results()

    def run(self, watch: Watch) -> Measured:
        """Measure what is missing, stage by stage; no round begins after the budget."""
        begun_s, n_failed = time.monotonic(), 0
        too_large = self._too_large()
        for stage in stages(self.models):
            left = left_of(
                stage,
                self._n_rounds(),
                {each.model for each in self.shares()},
                too_large,
                sustains=self._sustains and not self.sustained(),
            )
            left_s = self.budget_s - (time.monotonic() - begun_s)
            if not left.pieces:
                continue
            if left_s <= 0:
                return Measured(n_failed=n_failed, is_over_budget=True)
            say(f"{stage.what}: {', '.join(f'{piece.model} {piece.level}' for piece in left.pieces)}")
            with watch.making():
                files = list(_made(left, self.folder / "models"))
            left_s = self.budget_s - (time.monotonic() - begun_s)
            with watch.view() as view:
                outcome = run_session(self._request(left, left_s), files=lambda made=files: made, view=view)  # type: ignore[misc]
            n_failed += outcome.n_failed
            if outcome.n_left:
                return Measured(n_failed=n_failed, is_over_budget=True)
            self._observe(left, files)
            left_s = self.budget_s - (time.monotonic() - begun_s)
            n_failed += self._sustain(left, files, left_s, watch)
            _delete(files, self.folder / "models")
        return Measured(n_failed=n_failed)

    @property
    def _sustain_s(self) -> int:
        shortest, longest = _SUSTAINED_S
        return round(min(max(self.budget_s * _SUSTAINED_SHARE, shortest), longest))

    @property
    def _sustains(self) -> bool:
        return self._sustain_s <= self.budget_s / 2

    def _sustain(self, stage: Stage, files: list[Prepared], left_s: float, watch: Watch) -> int:
        """Sustain the load of a stage's model; return how many runs failed."""
        chosen = [file for file in files if file.artifact.model == stage.sustained and file.artifact.level == LEVEL]
        if not chosen:
            return 0
        if left_s < self._sustain_s:
            say(f"no load is sustained: that takes {self._sustain_s} s, {max(0, left_s):.0f} s of the budget are left")
            return 0
        say(f"sustaining the load of {stage.sustained} for {self._sustain_s} s")
        request = self._request(stage, left_s)
        request = msgspec.structs.replace(
            request, options=msgspec.structs.replace(request.options, sustain_s=self._sustain_s, drift_control=False)
        )
        with watch.view() as view:
            return run_session(request, files=lambda: chosen, view=view).n_failed

    def sustained(self) -> list[CellSummary]:
        """Return the sustained loads of this survey that came to their end."""
        return [
            cell
            for cell in summarise(self.stored())
            if cell.env_id == self.board.env_id
            and cell.sustained
            and cell.sustained.lasted_s >= cell.config.sustain_s
            and (cell.config.workload, cell.config.n_threads) == (WORKLOAD.name, self.board.n_threads)
            and cell.artifact.weights == "synthetic"
            and cell.artifact.model in self.models.sources
        ]

    def _too_large(self) -> Collection[Piece]:
        available = available_memory_bytes()
        found = [piece for piece, need in self.need_bytes.items() if need > available]
        for piece in found:
            say(
                f"not measured: {piece.model} {piece.level} needs {format_bytes(self.need_bytes[piece])} of memory, "
                f"{format_bytes(available)} are available"
            )
        return found

    def _request(self, stage: Stage, left_s: float) -> Request:
        return Request(
            sources=tuple(dict.fromkeys(piece.source for piece in stage.pieces)),
            prepare_options=PrepareOptions(levels=None, synthetic=True),
            axes=Axes(workload=(WORKLOAD.name,), threads=(self.board.n_threads,)),
            options=Options(
                rounds=ROUNDS,
                reps=1,
                budget_s=max(0.0, left_s),
                timeout_s=_TIMEOUT_S,
                patience=_PATIENCE,
                drift_control=True,
            ),
            results=self.results,
        )

    def rounds(self) -> Iterator[tuple[Round, str, str]]:
        """Yield each round of this survey that can be trusted, with its model and level."""
        return ((record, model, level) for record, model, level in self._all_rounds() if record.doubt is None)

    def n_set_aside(self) -> dict[tuple[str, str], int]:
        """Return how many rounds of each model and level drift control does not trust."""
        return dict(Counter((model, level) for record, model, level in self._all_rounds() if record.doubt is not None))

    def _all_rounds(self) -> Iterator[tuple[Round, str, str]]:
        results = self.stored()
        for record in results.rounds:
            file, config = results.artifacts[record.cell.artifact_sha256], record.cell.config
            if (
                record.env_id == self.board.env_id
                and record.status == "ok"
                and not config.sustain_s
                and (config.workload, config.n_threads) == (WORKLOAD.name, self.board.n_threads)
                and file.weights == "synthetic"
                and file.model in self.models.sources
            ):
                yield record, file.model, file.level

    def _n_rounds(self) -> dict[tuple[str, str], int]:
        return dict(Counter((model, level) for _, model, level in self.rounds()))

    @property
    def _shares_file(self) -> Path:
        return self.folder / "operators.json"

    def shares(self) -> list[Shares]:
        """Return the shares of operators that were observed here.

        Raises:
            UserError: their file is not this program's.
        """
        if not self._shares_file.exists():
            return []
        try:
            found = msgspec.json.decode(self._shares_file.read_bytes(), type=list[Shares])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UserError(f"cannot read {self._shares_file}: {str(error)[:100]}; delete it") from error
        return [
            each
            for each in found
            if (each.env_id, each.n_threads) == (self.board.env_id, self.board.n_threads)
            and each.model in self.models.sources
        ]

    def _observe(self, stage: Stage, files: list[Prepared]) -> None:
        """Time the operators of the stage's models, and keep their shares."""
        config = config_of(_OBSERVED, n_threads=self.board.n_threads, flash_attn="auto", repack=self.board.repack)
        for file in files:
            if file.artifact.model not in stage.observed:
                continue
            say(f"timing the operators of {file.artifact.model}")
            answer = observe_in_child(file.path, _OBSERVED, config, timeout_s=_TIMEOUT_S)
            if answer.observation is None:
                say(f"operators of {file.artifact.model} failed: {answer.failure.message if answer.failure else '?'}")
                continue
            report = report_of(answer.observation, file.artifact, self.environment, _OBSERVED,
                               n_threads=self.board.n_threads, repack=self.board.repack)  # fmt: skip
            phases = {"prefill": answer.observation.prefill, "decode": answer.observation.decode}
            new = [
                Shares(
                    model=file.artifact.model,
                    env_id=self.board.env_id,
                    n_threads=self.board.n_threads,
                    phase=phase,
                    n_runs=len(observed.group_ns),
                    shares=shares_of(observed, report.phases[phase].constants),
                )
                for phase, observed in phases.items()
            ]
            kept = [each for each in self.shares() if each.model != file.artifact.model]
            write_text(self._shares_file, msgspec.json.encode([*kept, *new]).decode())


def shares_of(observed: PhaseObservation, constants: Constants) -> dict[str, Span]:
    """Return the share of each part of the model, and of matrix products, with the interval over the runs."""

    def kind(group: Group) -> str:
        return "matrix products" if group.op in _PRODUCTS else group.op

    by_module = shares_by_run(observed, constants, lambda group: group.module)
    products = shares_by_run(observed, constants, kind).get("matrix products", [])
    spans = {name: span_of(values) for name, values in {**by_module, "matrix products": products}.items()}
    return {name: span for name, span in spans.items() if span is not None}


def _made(stage: Stage, folder: Path) -> Iterator[Prepared]:
    """Make the files of a stage that are not there."""
    levels: dict[str, list[str]] = {}
    for piece in stage.pieces:
        levels.setdefault(piece.source, []).append(piece.level)
    for source, names in levels.items():
        yield from prepare([source], PrepareOptions(levels=",".join(names), models_dir=folder, synthetic=True))


def _delete(files: list[Prepared], folder: Path) -> None:
    """Delete files that were made here: those of all models together may be larger than the disk."""
    for file in files:
        file.path.unlink(missing_ok=True)
        note_of(file.path).unlink(missing_ok=True)
    with suppress(OSError):  # other files are in it
        folder.rmdir()
