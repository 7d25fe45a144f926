"""Decode speed against file size: what a smaller file buys. A grey line joins the files of one model."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from plots.caption import caption, marks
from plots.load import Panel, at_common_threads, levels_of, models_of, spread
from plots.series import draw_series, legend_line
from plots.sheet import finish, log_ticks, sheet
from plots.style import Look, Style
from plots.text import shortened
from profiler.record import Environment
from profiler.summary import CellSummary

_MIB = 1 << 20
_LOG_FROM = 8.0  # a span of speeds that a linear axis would squeeze
# Where a name may stand, best first, in font sizes from its point.
_PLACES = ((0.7, 0.6, "left"), (-0.7, -0.6, "right"), (0.7, -0.6, "left"), (-0.7, 0.6, "right"),
           (1.4, 1.6, "left"), (-1.4, -1.6, "right"), (2.0, 2.8, "left"), (-2.0, -2.8, "right"),
           (3.0, 4.2, "left"), (-3.0, -4.2, "right"))  # fmt: skip


def size_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Figure | str:
    """Draw the chart, or say why there is none."""
    with_decode = [cell for cell in panel.cells if cell.decode_tps is not None and cell.file_bytes > 0]
    if not with_decode:
        return "no decode was measured"
    cells = at_common_threads(with_decode)
    levels, models = levels_of(cells), models_of(cells)
    estimated = cells[0].kind == "estimated"
    figure, (axis,) = sheet(style, 1)
    lines = {model: _line_of([cell for cell in cells if cell.model == model]) for model in models}
    for line in lines.values():
        axis.plot(*zip(*line, strict=True), color="#B0B0B0", linewidth=0.8 * style.line, marker="", zorder=1)
    for level in levels:
        series = [cell for cell in cells if cell.quant == level]
        points = [point for cell in series if (point := spread(cell, "decode_tps")) is not None]
        xs = [cell.file_bytes / _MIB for cell in series]
        draw_series(axis, xs, points, look_of[level], level, estimated=estimated, joined=False)
    sizes = [cell.file_bytes / _MIB for cell in cells]
    ranges = [point for cell in cells if (point := spread(cell, "decode_tps"))]
    speeds = [end for point in ranges for end in point]
    axis.set_xscale("log")
    axis.set_xlim(min(sizes) / 1.45, max(sizes) * 1.45)
    log_ticks(axis.xaxis, *axis.get_xlim())
    if max(speeds) / min(speeds) > _LOG_FROM:
        axis.set_yscale("log")
        axis.set_ylim(min(speeds) / 1.4, max(speeds) * 1.4)
        log_ticks(axis.yaxis, *axis.get_ylim())
    else:
        axis.set_ylim(0, max(speeds) * 1.18)
    axis.set_xlabel("file size, MiB")
    axis.set_ylabel("decode, tokens/s")
    joined = "A grey line joins the files of one model. " if len(models) > 1 else ""
    tie = "Overlapping error bars are a tie. " if len(cells) > 1 and any(low < high for _, low, high in ranges) else ""
    finish(
        figure,
        style,
        title="Decode speed against file size",
        subtitle=marks(cells),
        words=joined + tie + caption(panel, cells, environment),
        handles=[legend_line(look_of[level], level, estimated=estimated, joined=False) for level in levels],
    )
    if len(models) > 1:
        _name_models(figure, axis, lines, style)
    return figure


def _line_of(cells: Sequence[CellSummary]) -> list[tuple[float, float]]:
    return sorted((cell.file_bytes / _MIB, cell.decode_tps or 0.0) for cell in cells)


def _name_models(figure: Figure, axis: Axes, lines: Mapping[str, Sequence[tuple[float, float]]], style: Style) -> None:
    """Write each model's name by one of its points, in the first place where it covers nothing."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    size = style.font - 1.5
    half = 0.35 * size * figure.dpi / 72
    taken = [box for line in lines.values() for box in _boxes(axis.transData.transform(line), half)]
    for model, line in lines.items():
        name = shortened(model, 0.45 * figure.get_figwidth(), size)
        for (dx, dy, align), point in ((place, point) for place in _PLACES for point in line):
            label = axis.annotate(
                name,
                point,
                textcoords="offset points",
                xytext=(dx * size, dy * size),
                ha=align,
                va="center",
                fontsize=size,
                color="#333333",
                arrowprops={
                    "arrowstyle": "-",
                    "color": "#777777",
                    "linewidth": 0.5 * style.line,
                    "shrinkA": 0,
                    "shrinkB": 2,
                },
            )
            label.update_positions(renderer)
            box = Text.get_window_extent(label, renderer)  # of the letters, without the arrow
            inside = (
                axis.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1 and axis.bbox.y0 < box.y0 and box.y1 < axis.bbox.y1
            )
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            label.remove()


def _boxes(places: Any, half: float) -> list[Bbox]:
    """Give a box around each point of a line and around points between them."""
    made = []
    for (x0, y0), (x1, y1) in [*pairwise(places), (places[-1], places[-1])]:
        for step in range(4):
            x, y = x0 + (x1 - x0) * step / 4, y0 + (y1 - y0) * step / 4
            made.append(Bbox.from_extents(x - half, y - half, x + half, y + half))
    return made
