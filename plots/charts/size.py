"""Decode speed against file size: what a smaller file buys. A grey line joins the files of one model."""

from collections.abc import Mapping, Sequence

from plots.canvas.caption import caption, marks
from plots.canvas.chart_input import Picture, ends, row_of
from plots.canvas.labels import FAR, name_points
from plots.canvas.legend import family_keys, filling_keys, level_keys
from plots.canvas.panels import Panel, at_common_threads, models_of, spread
from plots.canvas.series import draw_levels
from plots.canvas.sheet import finish, log_ticks, sheet
from plots.canvas.style import Look, Style
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment

_MIB = 1 << 20
_LOG_FROM = 8.0  # a span of speeds that a linear axis would squeeze


def size_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Picture | str:
    """Draw the chart, or say why there is none."""
    with_decode = [cell for cell in panel.cells if cell.decode_tps is not None and cell.artifact.file_bytes > 0]
    if not with_decode:
        return "no decode was measured"
    cells = at_common_threads(with_decode)
    models = models_of(cells)
    figure, (axis,) = sheet(style, 1)
    lines = {model: _line_of([cell for cell in cells if cell.artifact.model == model]) for model in models}
    for line in lines.values():
        axis.plot(*zip(*line, strict=True), color="#B0B0B0", linewidth=0.8 * style.line, marker="", zorder=1)
    marked = [(cell, cell.artifact.file_bytes / _MIB, point) for cell in cells if (point := spread(cell, "decode_tps"))]
    draw_levels(axis, marked, look_of)
    sizes = [cell.artifact.file_bytes / _MIB for cell in cells]
    ranges = [point for _, _, point in marked]
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
        handles=[*level_keys(cells, look_of, lines=False), *family_keys(cells), *filling_keys(cells)],
    )
    if len(models) > 1:
        name_points(figure, axis, lines.items(), style, places=FAR)
    return Picture(
        figure,
        [row_of(cell, file_bytes=cell.artifact.file_bytes, **ends("decode_tps", point)) for cell, _, point in marked],
    )


def _line_of(cells: Sequence[CellSummary]) -> list[tuple[float, float]]:
    return sorted(
        (cell.artifact.file_bytes / _MIB, cell.decode_tps.value if cell.decode_tps else 0.0) for cell in cells
    )
