"""One call of `pick`: each source gets its own race, and all of them one results file."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import msgspec

from profiler.calibration.keep import load_calibration
from profiler.device.environment import available_memory_bytes, physical_cores, probe_backend, read_environment
from profiler.estimate.estimate_models import EstimateRequest, ModelEstimates, estimate_all
from profiler.estimate.overheads import load_overheads
from profiler.measure.corpus import default_text
from profiler.measure.launch import run_in_child, run_worker
from profiler.measure.one_round import RoundOptions, RoundTaker
from profiler.measure.worker import Answer, Job
from profiler.pick.answers import Answers, AnswerTools
from profiler.pick.candidates import REFERENCE, Candidates, Rules, candidates_of, candidates_of_files, question
from profiler.pick.files import LevelFiles, name_of
from profiler.pick.predicted import with_predictions
from profiler.pick.progress import candidate_lines
from profiler.pick.session import Known, Pick, PickOptions, PickSession, PickTools
from profiler.predict.speed import Load, Predictor, Speeds
from profiler.quality.adaptive import AdaptiveScores, ScoreTools
from profiler.quality.choose import UNQUANTIZED, unquantized
from profiler.quality.session import QualityOptions
from profiler.quality.worker import ScoreAnswer, ScoreJob
from profiler.records.calibration import Calibration
from profiler.records.config import F16_CACHE, KvTypes, RunConfig
from profiler.records.environment import Environment
from profiler.records.record import Record
from profiler.results.file import Results
from profiler.results.writer import ResultsWriter
from profiler.sweep.grid import Axes, expand
from profiler.sweep.instruments import Instruments
from profiler.sweep.plan import history_of
from profiler.sweep.session import (
    check_gpu,
    warn_of_variables,
    with_working_repack,
    write_artifact,
    write_environment,
)
from quant.base.errors import UserError
from quant.base.files import cache_dir
from quant.base.progress import say
from quant.base.units import format_bytes
from quant.gguf_io.artifact import describe
from quant.gguf_io.levels import parse_levels
from quant.sources.prepare import DEFAULT_LEVELS, Prepared, PrepareOptions, prepare, refuse_equal_names
from quant.sources.real_weights import refusal
from quant.sources.resolve import Source, resolve


class PickRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the user requested."""

    sources: tuple[str, ...]
    prepare_options: PrepareOptions  # its levels are the candidates
    axes: Axes  # of one value each, but for threads
    options: PickOptions
    results: Path
    reps: int
    seed: int
    timeout_s: float | None
    force: bool = False
    fresh: bool = False


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """What runs in processes of its own; tests pass their own."""

    run: Callable[[Job], Answer]
    score: Callable[[ScoreJob, Callable[[bytes], None]], ScoreAnswer]
    making: Callable[[], AbstractContextManager[None]] = nullcontext


def workers(timeout_s: float | None, making: Callable[[], AbstractContextManager[None]]) -> Workers:
    """Return workers that run llama.cpp."""
    return Workers(
        run=lambda job: run_worker(job, timeout_s=timeout_s),
        score=lambda job, on_progress: run_in_child(
            "profiler.quality.worker", job, ScoreAnswer, Path(job.path).parent, timeout_s=None, on_progress=on_progress
        ),
        making=making,
    )


def run_picks(request: PickRequest, workers: Workers) -> list[Pick]:
    """Pick for each source what is not decided yet; the budget is shared in their order.

    GGUF files of one model that are taken as they are compete.

    Raises:
        UserError: the input is wrong, or another command writes the results file.
    """
    sources = [resolve(text) for text in request.sources]
    refuse_equal_names(sources)
    ends_s = time.monotonic() + request.options.budget_s
    with ResultsWriter(request.results, fresh=request.fresh, say=say) as writer:
        environment = read_environment(probe_backend())
        check_gpu([request.axes], environment)
        (axes,) = with_working_repack([request.axes])
        warn_of_variables(environment, [cell.config for cell in expand(axes, [""])])
        write_environment(writer, environment, request.results)
        runner = _Runner(msgspec.structs.replace(request, axes=axes), writer, environment, workers)
        picks = []
        groups = runner.groups(sources)
        for place, group in enumerate(groups):
            share_s = (ends_s - time.monotonic()) / (len(groups) - place) if ends_s < math.inf else math.inf
            picks.append(runner.pick(group, share_s))
        return picks


class _Runner:
    """The picks of one results file."""

    def __init__(self, request: PickRequest, writer: ResultsWriter, environment: Environment, workers: Workers) -> None:
        self._request, self._writer, self._environment, self._workers = request, writer, environment, workers
        instruments = Instruments.of(environment)
        self._write: Callable[[Record], None] = instruments.writing(writer.write)
        self._rounds = RoundTaker(
            RoundOptions(env_id=environment.id, reps=request.reps, seed=request.seed, force=request.force),
            run=instruments.running(workers.run),
            available_bytes=available_memory_bytes,
            first_order=history_of(writer.results, environment.id).next_order,
        )

    def groups(self, sources: Sequence[Source]) -> list[list[Source]]:
        """Return the sources of each race: files that are taken as they are by model, each other one alone.

        Raises:
            UserError: a file holds no model.
        """
        found: dict[object, list[Source]] = {}
        for place, source in enumerate(sources):
            key: object = place
            if source.path is not None and self._is_taken_as_it_is(source):
                artifact = describe(source.path)
                key = artifact.model, artifact.arch, artifact.n_params, artifact.weights
            found.setdefault(key, []).append(source)
        return list(found.values())

    def _is_taken_as_it_is(self, source: Source) -> bool:
        return source.kind == "gguf" and self._request.prepare_options.levels is None

    def pick(self, group: Sequence[Source], budget_s: float) -> Pick:
        """Pick for the sources of one race."""
        begun_s = time.monotonic()
        options, prepare_options, source = self._request.options, self._request.prepare_options, group[0]
        configs = [cell.config for cell in expand(self._request.axes, [""])]
        with self._workers.making():
            if self._is_taken_as_it_is(source):
                there = prepare([each.text for each in group], prepare_options)
                candidates = self._candidates_there(there, configs)
            elif there := self._on_hub(source):
                candidates = candidates_of_files(there, configs, self._rules(None), {})
            else:
                candidates = self._candidates(source, configs)
        files = LevelFiles(source.text, prepare_options, candidates.files)
        for line in candidate_lines(candidates):
            say(line)
        scores = self._scores(source, candidates, configs[0])
        if scores is None and options.limits.max_kld is not None:
            raise UserError(f"--max-kld needs measured quality, which {candidates.model} has not; remove it")
        tools = PickTools(
            rounds=self._rounds,
            scores=scores,
            lacking=self._answers(source, candidates).lacking if options.limits.bounds_accuracy else None,
            write=self._write,
            write_artifact=lambda artifact: write_artifact(self._writer, artifact),
            making=self._workers.making,
        )
        left_s = budget_s - (time.monotonic() - begun_s)
        options = msgspec.structs.replace(options, budget_s=left_s)
        known = known_of(self._writer.results, candidates, self._environment.id, configs[0].cache)
        return PickSession(" ".join(each.text for each in group), candidates, files, known, options, tools).run()

    def _answers(self, source: Source, candidates: Candidates) -> Answers:
        """Return what asks levels the tasks that a limit names.

        Raises:
            UserError: the weights are synthetic, or the tasks cannot be asked.
        """
        if candidates.synthetic:
            raise refusal(candidates.model)
        tools = AnswerTools(
            environment=self._environment,
            results=self._writer.results,
            write=self._write,
            write_artifact=lambda artifact: write_artifact(self._writer, artifact),
            reference=self._reference_of(source, candidates),
        )
        return Answers(self._request.options.limits, physical_cores(), tools)

    def _candidates(self, source: Source, configs: list[RunConfig]) -> Candidates:
        """Estimate the levels of a source, without its weights.

        Raises:
            UserError: it cannot be estimated.
        """
        prepare_options = self._request.prepare_options
        levels = prepare_options.levels or DEFAULT_LEVELS
        calibration = load_calibration(self._environment.id)
        asked = question(
            levels, configs[0], with_reference=not prepare_options.synthetic, with_graphs=calibration is not None
        )
        (found,) = self._estimates([source], asked)
        if found.skipped:
            raise UserError(found.skipped)
        if source.kind == "gguf":
            assert source.path is not None
            found = msgspec.structs.replace(found, model=describe(source.path).model)
        candidates = candidates_of(found, configs, self._rules(parse_levels(levels)))
        if calibration is None:
            return candidates
        return with_predictions(candidates, _predicted(candidates, found, calibration), self._request.options.limits)

    def _candidates_there(self, there: Sequence[Prepared], configs: list[RunConfig]) -> Candidates:
        """Return the candidates among files, with the memory that each is estimated to take."""
        asked = question(None, configs[0], with_reference=False)
        found = self._estimates([resolve(str(file.path)) for file in there], asked)
        memory_bytes = {
            file.artifact.sha256: each.estimates[0].model_rss_bytes
            for file, each in zip(there, found, strict=True)
            if each.estimates
        }
        return candidates_of_files(there, configs, self._rules(None), memory_bytes)

    def _estimates(self, sources: Sequence[Source], asked: EstimateRequest) -> list[ModelEstimates]:
        return estimate_all(sources, asked, partial(load_overheads, self._environment.id), n_processes=1)

    def _rules(self, levels: list[str] | None) -> Rules:
        prepare_options = self._request.prepare_options
        return Rules(
            levels=levels,
            available_bytes=available_memory_bytes(),
            has_imatrix=prepare_options.imatrix is not None,
            force=self._request.force,
            synthetic=prepare_options.synthetic,
        )

    def _on_hub(self, source: Source) -> list[Prepared]:
        """Download the files of a repository of GGUF files, which holds no config to estimate them by; else none."""
        prepare_options = self._request.prepare_options
        if source.kind != "hub" or prepare_options.synthetic:
            return []
        from quant.hub.fetch import holds_ggufs

        assert source.repo is not None
        if not holds_ggufs(source.repo, source.revision):
            return []
        return prepare([source.text], msgspec.structs.replace(prepare_options, hub_levels=DEFAULT_LEVELS))

    def _scores(self, source: Source, candidates: Candidates, config: RunConfig) -> AdaptiveScores | None:
        """Return what measures quality; None where there is nothing to compare with."""
        if candidates.synthetic:
            return None
        if config.cache == F16_CACHE and all(each.level in UNQUANTIZED for each in candidates.entries):
            return None
        reference = self._reference_of(source, candidates)
        if reference is None:
            return None
        need, have = candidates.reference_need_bytes, available_memory_bytes()
        if need is not None and need > have:
            say(
                f"{candidates.model} {REFERENCE}, to compare with, needs about {format_bytes(need)} of memory, "
                f"{format_bytes(have)} are available: no quality is measured, bits per weight decide instead"
            )
            return None
        tools = ScoreTools(
            scratch=cache_dir() / "picks" / name_of(self._request.results, candidates.model),
            run=self._workers.score,
            available_bytes=available_memory_bytes,
        )
        quality = QualityOptions(n_threads=physical_cores(), repack=config.repack, caches=(config.cache,))
        return AdaptiveScores(reference, default_text(), quality, self._environment.id, tools)

    def _reference_of(self, source: Source, candidates: Candidates) -> Callable[[], Prepared] | None:
        """Return what makes the unquantized file; None where the source has none."""
        prepare_options = self._request.prepare_options
        files = LevelFiles(source.text, prepare_options)
        if source.kind == "gguf":
            there = [file for file in candidates.files.values() if file.artifact.level in UNQUANTIZED]
            found = next(iter(there), None) or unquantized(source, prepare_options)
            return (lambda: found) if found else None

        def make() -> Prepared:
            made = unquantized(source, prepare_options)
            if made is None:
                raise UserError(f"{source.text} has no unquantized file to compare with")
            write_artifact(self._writer, made.artifact)
            return made

        return lambda: files.noting(make)


def _predicted(candidates: Candidates, found: ModelEstimates, calibration: Calibration) -> dict[str, Speeds]:
    """Return the predicted speeds of the entries whose number of threads was calibrated."""
    graphs = {each.level.level: each.level.graphs for each in found.estimates}
    counts = calibration.thread_counts()
    predicted = {}
    for entry in candidates.entries:
        config = candidates.configs[entry.key]
        if config.device == "cpu" and {config.n_threads, config.n_threads_batch} <= set(counts):
            speeds = Predictor(calibration, Load.of(config)).speeds(graphs[entry.level])
            if speeds is not None:
                predicted[entry.key] = speeds
    return predicted


def known_of(results: Results, candidates: Candidates, env_id: str, cache: KvTypes) -> Known:
    """Return what a results file holds of the candidates in one environment: what went well and is not suspect."""
    weights = "synthetic" if candidates.synthetic else "real"
    sha256 = {
        artifact.level: artifact.sha256
        for artifact in results.artifacts.values()
        if artifact.model == candidates.model and artifact.weights == weights
    }
    sha256 |= {level: file.artifact.sha256 for level, file in candidates.files.items()}
    there = set(sha256.values())
    trusted = [record for record in history_of(results, env_id).trusted if record.cell.artifact_sha256 in there]
    return Known(
        sha256=sha256,
        rounds={(record.cell.key, record.round): record for record in trusted},
        qualities={
            (record.artifact_sha256, record.n_chunks_asked): record
            for record in results.qualities
            if record.adaptive and record.cache == cache
            if record.status == "ok" and record.n_chunks_asked and record.divergence
        },
    )
