"""Estimates of every file of the survey: memory, and speeds where this device is calibrated."""

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from plots.survey.plan import LEVEL, Piece, SurveyModels
from plots.survey.records import AtContext, estimated_parts
from profiler.calibration.keep import is_stale, load_calibration
from profiler.estimate.estimate import Estimate
from profiler.estimate.estimate_models import EstimateRequest, estimate_all
from profiler.estimate.overheads import load_overheads
from profiler.measure.workloads import WORKLOADS
from profiler.predict.speed import Load, Predictor
from profiler.records.config import RunConfig, base_config
from quant.base.progress import say
from quant.sources.resolve import resolve

WORKLOAD = WORKLOADS["survey"]
_N_CTX = 2048  # of the workload
_CONTEXTS = (512, 2048, 8192, 32768)
_OF_CONTEXTS = ("qwen1.5-0.5b", "qwen2-0.5b", "phi-1.5", "gemma-2b")
_PROCESSES = 2


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """What estimates are made for."""

    env_id: str
    n_threads: int
    repack: bool


def find_predictor(board: Board) -> tuple[Predictor | None, str]:
    """Return what predicts speeds; without it, the reason and what to do."""
    calibration = load_calibration(board.env_id)
    if calibration is None:
        why = (
            "calibrated in another state (llama.cpp, kernel, governor)" if is_stale(board.env_id) else "not calibrated"
        )
        return None, f"this device is {why}, so no speed can be predicted; run slmprof calibrate -t {board.n_threads}"
    counts = calibration.thread_counts()
    if board.n_threads not in counts:
        listed = ", ".join(map(str, counts))
        return None, f"this device is calibrated for {listed} threads; run slmprof calibrate -t {board.n_threads}"
    return Predictor(calibration, Load.of(_config(board, _N_CTX))), ""


def estimate_pieces(models: SurveyModels, board: Board, predictor: Predictor | None) -> dict[Piece, Estimate]:
    """Return the estimate of each file; a file that llama.cpp cannot make is reported and has none."""
    levels: dict[str, list[str]] = {}
    for piece in models.pieces:
        levels.setdefault(piece.model, []).append(piece.level)
    found: dict[tuple[str, str], Estimate] = {}
    for same, names in _by_levels(levels).items():
        for estimate in _estimated([models.sources[name] for name in names], ",".join(same), board, _N_CTX, predictor):
            speeds = predictor.speeds(estimate.level.graphs) if predictor else None
            found[estimate.model, estimate.level.level] = msgspec.structs.replace(estimate, speeds=speeds)
    return {piece: found[key] for piece in models.pieces if (key := (piece.model, piece.level)) in found}


def estimate_contexts(models: SurveyModels, board: Board) -> list[AtContext]:
    """Return the memory of some models at sizes of the context, by model."""
    names = [name for name in _OF_CONTEXTS if name in models.sources] or list(models.sources)[:2]
    found = [
        AtContext(model=each.model, n_ctx=n_ctx, parts_mib=estimated_parts(each))
        for n_ctx in _CONTEXTS
        for each in _estimated([models.sources[name] for name in names], LEVEL, board, n_ctx)
    ]
    return sorted(found, key=lambda each: (names.index(each.model), each.n_ctx))


def _by_levels(levels: Mapping[str, Sequence[str]]) -> dict[tuple[str, ...], list[str]]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for model, names in levels.items():
        groups.setdefault(tuple(names), []).append(model)
    return groups


def _estimated(
    sources: Sequence[str], levels: str, board: Board, n_ctx: int, predictor: Predictor | None = None
) -> list[Estimate]:
    request = EstimateRequest(
        levels=levels, configs=(_config(board, n_ctx),), load_modes=("mmap",), with_graphs=predictor is not None
    )
    models = estimate_all(
        [resolve(source) for source in sources], request, partial(load_overheads, board.env_id), n_processes=_PROCESSES
    )
    for model in models:
        for what in filter(None, (model.skipped, *(f"{level}: {reason}" for level, reason in model.refused))):
            say(f"not in the survey: {model.model}: {what}")
    return [each for model in models for each in model.estimates]


def _config(board: Board, n_ctx: int) -> RunConfig:
    return base_config(
        mode=WORKLOAD.mode,
        n_prompt=WORKLOAD.n_prompt,
        n_gen=WORKLOAD.n_gen,
        n_ctx=n_ctx,
        n_outputs_max=1,
        n_threads=board.n_threads,
        load_mode="none",  # a mapped file would be read
        repack=board.repack,
    )
