"""From what was measured and estimated to what the page shows."""

from collections.abc import Sequence

from plots.canvas.chart_input import ChartInput, chart_input
from plots.survey.estimates import estimate_contexts
from plots.survey.measure import Measuring
from plots.survey.plan import LEVEL, ROUNDS
from plots.survey.records import Point, Survey, Sweeps, best_of, measured_point, predicted_point
from plots.survey.run import Ran
from plots.survey.words import name_of
from profiler.analysis.summarise import summarise
from profiler.records.cell_summary import CellSummary
from quant.base.errors import UserError
from quant.base.text import counted

_NOT_SUSTAINED = (
    "Sustained inference (figure 9) was not measured: a longer --budget sustains one model's load for a sixth of it."
)


def gather(ran: Ran, command: str) -> Survey:
    """Return the survey as far as it is; a file that was measured keeps its prediction beside it.

    Raises:
        UserError: there is nothing to show.
    """
    measuring = ran.measuring
    cells = _cells(measuring)
    measured = [measured_point(cell) for cell in cells]
    predicted = [predicted_point(estimate) for estimate in ran.estimates.values()]
    points = best_of(measured, predicted)
    if not points:
        raise UserError("nothing was measured or estimated; see the lines above, and choose other --models")
    models = measuring.models
    sustained = _sustained(measuring)
    return Survey(
        points=tuple(each for each in points if each.level == LEVEL),
        levels=tuple(each for each in points if each.model == models.of_levels),
        predictions=tuple(each for each in predicted if each.decode_ms is not None),
        shares=tuple(measuring.shares()),
        contexts=tuple(estimate_contexts(models, measuring.board)),
        sweeps=_sweeps(measuring, cells),
        models=models,
        n_threads=measuring.board.n_threads,
        environment=measuring.environment,
        command=command,
        sustained=sustained,
        notes=(
            *ran.notes,
            *_left(ran, measured),
            *_set_aside(measuring, measured),
            *([] if sustained else [_NOT_SUSTAINED]),
        ),
    )


def _sustained(measuring: Measuring) -> ChartInput | None:
    """Return the longest sustained load with its minutes."""
    longest = max(measuring.sustained(), key=lambda cell: cell.config.sustain_s, default=None)
    return chart_input([longest], measuring.stored()) if longest else None


def _cells(measuring: Measuring) -> list[CellSummary]:
    """Return the summaries of this survey's cells that have figures."""
    keys = {record.cell.key for record, _, _ in measuring.rounds()}
    return [
        cell
        for cell in summarise(measuring.stored())
        if cell.cell_key in keys and cell.env_id == measuring.board.env_id and cell.rounds
    ]


def _sweeps(measuring: Measuring, cells: Sequence[CellSummary]) -> Sweeps:
    readings = [
        reading
        for record, _, _ in measuring.rounds()
        for sample in record.samples
        for reading in (sample.before, sample.after)
    ]
    clocks = [reading.mhz for reading in readings if reading.mhz is not None]
    return Sweeps(
        n_cells=len(cells),
        n_throttled=sum("throttled" in cell.flags for cell in cells),
        n_drifting=sum("drifting" in cell.flags for cell in cells),
        hottest_c=max((each.temperature_c for each in readings if each.temperature_c is not None), default=None),
        mhz=(min(clocks), max(clocks)) if clocks else None,
    )


def _left(ran: Ran, measured: Sequence[Point]) -> list[str]:
    """Return what the budget left over."""
    if not ran.ended.is_over_budget:
        return []
    n_rounds = {(each.model, each.level): each.n_rounds for each in measured}
    wanted = [n_rounds.get((piece.model, piece.level), 0) for piece in ran.measuring.models.pieces]
    n_left, n_without = sum(max(0, ROUNDS - n) for n in wanted), wanted.count(0)
    return [
        (
            f"The budget left {counted(n_left, 'round')} to do, and {n_without} of {len(wanted)} files without any."
            " The same command goes on."
        )
    ]


def _set_aside(measuring: Measuring, measured: Sequence[Point]) -> list[str]:
    """Return what was measured while the device was slower than before, and is not shown."""
    n_rounds = measuring.n_set_aside()
    if not n_rounds:
        return []
    shown = {(each.model, each.level) for each in measured}
    hidden = [f"{name_of(model)} {level}" for model, level in n_rounds if (model, level) not in shown]
    only = f" {', '.join(hidden)} {'has' if len(hidden) == 1 else 'have'} no others." if hidden else ""
    n_all = sum(n_rounds.values())
    return [
        (
            f"{counted(n_all, 'round')} {'is' if n_all == 1 else 'are'} set aside: drift control found the device "
            f"slower than before.{only}"
        )
    ]
