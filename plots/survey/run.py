"""One call of `study survey`: estimates of everything, then measurements within the budget."""

from pathlib import Path

import msgspec

from plots.survey.estimates import Board, estimate_pieces, find_predictor
from plots.survey.measure import Measured, Measuring, Watch
from plots.survey.plan import Piece, SurveyModels
from profiler.device.environment import probe_backend, read_environment
from profiler.estimate.estimate import Estimate
from profiler.measure.repack_probe import repack_in_force
from quant.base.errors import UserError


class SurveyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the user requested."""

    models: SurveyModels
    n_threads: int
    folder: Path
    budget_s: float
    measures: bool
    predicts: bool
    command: str


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What there is after a call."""

    measuring: Measuring
    estimates: dict[Piece, Estimate]
    ended: Measured
    notes: tuple[str, ...]


def run_survey(request: SurveyRequest, watch: Watch) -> Ran:
    """Estimate every file and measure those that the budget allows.

    Raises:
        UserError: only predictions were requested, and this device is not calibrated; or the folder cannot be written.
    """
    environment = read_environment(probe_backend())
    board = Board(env_id=environment.id, n_threads=request.n_threads, repack=repack_in_force(True))
    predictor, problem = find_predictor(board) if request.predicts else (None, "")
    if problem and not request.measures:
        raise UserError(problem)
    with watch.making():
        estimates = estimate_pieces(request.models, board, predictor)
    measuring = Measuring(
        models=request.models,
        board=board,
        environment=environment,
        folder=request.folder,
        budget_s=request.budget_s,
        need_bytes={piece: estimate.need_bytes for piece, estimate in estimates.items()},
    )
    ended = measuring.run(watch) if request.measures else Measured()
    notes = (f"{problem[:1].upper()}{problem[1:]}.",) if problem else ()
    return Ran(measuring=measuring, estimates=estimates, ended=ended, notes=notes)
