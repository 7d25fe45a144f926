"""Speed and memory against quality: a line joins the files of a model that no other of its files beats."""

from plots.canvas.chart_input import Picture, ends, row_of
from plots.canvas.figures import decode_tps, ends_of, flat, kld_of, levels_to_compare, peak_mib
from plots.canvas.frame import Frame, frame
from plots.canvas.labels import FAR, name_points
from plots.canvas.panels import Panel, models_of
from plots.canvas.series import Mark, draw_levels, join_files
from plots.canvas.sheet import sheet, value_axis
from plots.canvas.theme import Theme
from plots.charts.pareto_front import dominators
from profiler.records.cell_summary import CellSummary
from profiler.records.span import Span

_FIGURES = ((decode_tps, "decode, tokens/s"), (peak_mib, "peak memory, MiB"))
_NOTES = (
    "Right is better quality; up is faster, down is smaller. A grey line joins the files of one model that no other of "
    "its files beats in speed, memory and quality beyond the error bars; beaten files are faint."
)


def pareto_chart(panel: Panel, theme: Theme) -> Picture | str:
    """Draw the chart, or return why there is none."""
    cells = levels_to_compare(panel)
    if isinstance(cells, str):
        return cells
    measured = all(kld_of(cell) for cell in cells)
    beaten = dominators(cells)
    figure, axes = sheet(theme.style, 2)
    lines: list[dict[str, list[tuple[float, float]]]] = []
    for axis, (value_of, label) in zip(axes, _FIGURES, strict=True):
        marks = [
            Mark(cell, quality.value, point, quality if measured else None, cell.cell_key in beaten)
            for cell in cells
            if (quality := _quality(cell, measured)) and (point := value_of(cell))
        ]
        lines.append(_fronts(marks))
        for line in lines[-1].values():
            join_files(axis, line, theme.style)
        draw_levels(axis, marks, theme)
        value_axis(axis, "y", ends_of(each.point for each in marks))
        axis.set_xlabel("KLD, nats" if measured else "bits per weight")
        axis.set_ylabel(label)
        axis.margins(x=0.1)
        if measured:
            axis.invert_xaxis()
    unmeasured = "" if measured else " Bits per weight replace quality, which was not measured for all."
    frame(figure, theme, panel, cells, Frame(title="Which levels are worth having", notes=_NOTES + unmeasured))
    if len(models_of(cells)) > 1:
        for axis, fronts in zip(axes, lines, strict=True):
            name_points(figure, axis, fronts.items(), theme.style, places=FAR)
    rows = [
        row_of(
            cell,
            **ends("decode_tps", decode_tps(cell)),
            **ends("peak_mib", peak_mib(cell)),
            **ends("kld", kld_of(cell)),
            on_front=cell.cell_key not in beaten,
            beaten_by=beaten.get(cell.cell_key),
        )
        for cell in cells
    ]
    return Picture(figure, rows)


def _fronts(marks: list[Mark]) -> dict[str, list[tuple[float, float]]]:
    """Return each model's places that no other of its files beats, from left to right."""
    fronts: dict[str, list[tuple[float, float]]] = {}
    for model in models_of([each.cell for each in marks]):
        fronts[model] = sorted(
            (each.x, each.point.value) for each in marks if each.cell.artifact.model == model and not each.faint
        )
    return fronts


def _quality(cell: CellSummary, measured: bool) -> Span:
    return (kld_of(cell) if measured else None) or flat(cell.artifact.bpw)
