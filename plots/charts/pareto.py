"""Speed and memory against quality: a line joins the files of a model that no other of its files beats."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from plots.canvas.caption import caption, marks
from plots.canvas.chart_input import Picture, ends, row_of
from plots.canvas.labels import FAR, name_points
from plots.canvas.legend import family_keys, filling_keys, level_keys
from plots.canvas.panels import Panel, Point, at_common_threads, levels_of, models_of, quality_of, spread
from plots.canvas.pareto_front import dominators
from plots.canvas.series import draw_levels
from plots.canvas.sheet import finish, log_ticks, sheet
from plots.canvas.style import Look, Style
from plots.charts.tradeoff import memory_of
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment

_LOG_FROM = 8.0


def pareto_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Picture | str:
    """Draw the chart, or say why there is none."""
    usable = [cell for cell in panel.cells if memory_of(cell) and spread(cell, "decode_tps")]
    if not usable:
        return "no cell has both decode and memory"
    cells = at_common_threads(usable)
    if len(levels_of(cells)) < 2:
        return "only one level was measured"
    measured = all(quality_of(cell) for cell in cells)
    places = {cell.cell_key: _quality(cell, measured) for cell in cells}
    beaten = dominators(cells)
    figure, axes = sheet(style, 2)
    lines: dict[str, list[CellSummary]] = {
        model: [cell for cell in cells if cell.artifact.model == model and cell.cell_key not in beaten]
        for model in models_of(cells)
    }
    for axis, value_of, label in zip(axes, (_decode, memory_of), ("decode, tokens/s", "peak memory, MiB"), strict=True):
        for line in lines.values():
            joined = sorted((places[cell.cell_key][0], (value_of(cell) or (0.0,))[0]) for cell in line)
            axis.plot(*zip(*joined, strict=True), color="#B0B0B0", linewidth=0.8 * style.line, marker="", zorder=1)
        marked = [(cell, places[cell.cell_key][0], point) for cell in cells if (point := value_of(cell))]
        draw_levels(axis, marked, look_of, faint=beaten, across=places if measured else None)
        _scale(axis, [end for _, _, point in marked for end in point])
        axis.set_xlabel("Kullback-Leibler divergence" if measured else "bits per weight")
        axis.set_ylabel(label)
        axis.margins(x=0.1)
        if measured:
            axis.invert_xaxis()
    words = "Right is better quality; up is faster, down is smaller. A grey line joins the files of one model that no "
    words += "other of its files beats in speed, memory and quality beyond the error bars; beaten files are faint. "
    if not measured:
        words += "Bits per weight stand for quality, which was not measured of all. "
    finish(
        figure,
        style,
        title="Which levels are worth having",
        subtitle=marks(cells),
        words=words + caption(panel, cells, environment),
        handles=[*level_keys(cells, look_of, lines=False), *family_keys(cells), *filling_keys(cells)],
    )
    if len(lines) > 1:
        for axis, value_of in zip(axes, (_decode, memory_of), strict=True):
            points = {
                model: sorted((places[cell.cell_key][0], (value_of(cell) or (0.0,))[0]) for cell in line)
                for model, line in lines.items()
                if line
            }
            name_points(figure, axis, points.items(), style, places=FAR)
    rows = [
        row_of(
            cell,
            **ends("decode_tps", _decode(cell)),
            **ends("peak_mib", memory_of(cell)),
            **ends("kld", quality_of(cell)),
            on_front=cell.cell_key not in beaten,
            beaten_by=beaten.get(cell.cell_key),
        )
        for cell in cells
    ]
    return Picture(figure, rows)


def _decode(cell: CellSummary) -> Point | None:
    return spread(cell, "decode_tps")


def _quality(cell: CellSummary, measured: bool) -> Point:
    return (quality_of(cell) if measured else None) or (cell.artifact.bpw, cell.artifact.bpw, cell.artifact.bpw)


def _scale(axis: Axes, values: list[float]) -> None:
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOG_FROM:
        axis.set_yscale("log")
        axis.set_ylim(low / 1.3, high * 1.3)
        log_ticks(axis.yaxis, *axis.get_ylim())
    else:
        axis.set_ylim(0, high * 1.15)
