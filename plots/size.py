"""Decode speed against file size, each file named by its level: what a smaller file buys."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plots.caption import caption, is_synthetic, threads_words
from plots.load import Panel, at_common_threads, models_of, spread
from plots.sheet import error_bars, finish, log_ticks, sheet
from plots.style import Look, Style, looks
from profiler.record import Environment
from profiler.summary import CellSummary

_MIB = 1 << 20
# Where a label may stand, best first, in points from its mark.
_PLACES = (
    (6, 5, "left"), (6, -11, "left"), (-6, 5, "right"), (-6, -11, "right"), (0, 11, "center"), (0, -17, "center"),
    (8, 15, "left"), (-8, 15, "right"), (8, -21, "left"), (-8, -21, "right"), (0, 22, "center"),
)  # fmt: skip


def size_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Figure | str:
    """Draw the chart, or say why there is none."""
    with_decode = [cell for cell in panel.cells if cell.decode_tps is not None]
    if not with_decode:
        return "no decode was measured"
    cells, threads = at_common_threads(with_decode)
    models = models_of(cells)
    of_model = looks(models)
    figure, (axis,) = sheet(style, 1)
    handles = []
    for model in models:
        series = sorted((cell for cell in cells if cell.model == model), key=lambda cell: cell.file_bytes)
        points = [point for cell in series if (point := spread(cell, "decode_tps")) is not None]
        look = of_model[model]
        drawn = axis.errorbar(
            [cell.file_bytes / _MIB for cell in series],
            [point[0] for point in points],
            yerr=error_bars(points),
            color=look.colour,
            marker=look.marker,
            linestyle="none",
            label=model,
        )
        handles.append(drawn)
    sizes = [cell.file_bytes / _MIB for cell in cells]
    speeds = [value for cell in cells for value in (spread(cell, "decode_tps") or ())]
    axis.set_xscale("log")
    axis.set_xlim(min(sizes) / 1.45, max(sizes) * 1.45)
    if max(speeds) / min(speeds) > 8:
        axis.set_yscale("log")
        axis.set_ylim(min(speeds) / 1.4, max(speeds) * 1.4)
        log_ticks(axis.yaxis, *axis.get_ylim())
    else:
        axis.set_ylim(0, max(speeds) * 1.18)
    log_ticks(axis.xaxis, *axis.get_xlim())
    axis.set_xlabel("file, MiB")
    axis.set_ylabel("decode, tokens per second")
    finish(
        figure,
        style,
        title="Decode speed against file size",
        subtitle="synthetic weights" if is_synthetic(cells) else "",
        words=f"Overlapping bars are a tie. {caption(panel, cells, environment, threads_words(threads))}",
        handles=handles,
    )
    _name_points(figure, axis, cells, {model: of_model[model].colour for model in models}, style)
    return figure


def _name_points(
    figure: Figure, axis: Axes, cells: Sequence[CellSummary], colour_of: Mapping[str, str], style: Style
) -> None:
    """Write each level at its point, in the first place where it covers neither a mark nor another label."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    marks = [axis.transData.transform((cell.file_bytes / _MIB, cell.decode_tps or 0.0)) for cell in cells]
    # A label may cross into the margin of the axes, not out of the figure.
    frame = figure.bbox
    taken: list[Any] = []
    for cell, mark in sorted(zip(cells, marks, strict=True), key=lambda pair: -pair[1][1]):
        for dx, dy, align in _PLACES:
            label = axis.annotate(
                cell.quant,
                (cell.file_bytes / _MIB, float(cell.decode_tps or 0)),
                textcoords="offset points",
                xytext=(dx, dy),
                ha=align,
                fontsize=style.font - 2 if len(cells) > 12 else style.font - 1,
                color=colour_of[cell.model],
            )
            box = label.get_window_extent(renderer).expanded(1.02, 1.05)
            free = not any(box.overlaps(other) for other in taken)
            free &= not any(box.contains(*other) for other in marks if other is not mark)
            free &= (
                frame.x0 <= box.x0 and box.x1 <= axis.bbox.x1 + 2 and axis.bbox.y0 <= box.y0 and box.y1 <= axis.bbox.y1
            )
            if free:
                taken.append(box)
                break
            # Without a free place the point keeps its mark, and the table its name.
            label.remove()
