"""Decode speed against file size: what a smaller file buys. A grey line joins the files of one model."""

from plots.canvas.chart_input import Picture, ends, row_of
from plots.canvas.figures import MIB, decode_tps, ends_of
from plots.canvas.frame import Frame, frame
from plots.canvas.labels import FAR, name_points
from plots.canvas.panels import Panel, at_common_threads, models_of
from plots.canvas.series import Mark, draw_levels, join_files
from plots.canvas.sheet import log_axis, sheet, value_axis
from plots.canvas.theme import Theme


def size_chart(panel: Panel, theme: Theme) -> Picture | str:
    """Draw the chart, or return why there is none."""
    with_decode = [cell for cell in panel.cells if decode_tps(cell) and cell.artifact.file_bytes > 0]
    if not with_decode:
        return "no decode was measured"
    cells = at_common_threads(with_decode)
    models = models_of(cells)
    figure, (axis,) = sheet(theme.style, 1)
    marks = [Mark(cell, cell.artifact.file_bytes / MIB, point) for cell in cells if (point := decode_tps(cell))]
    lines = {
        model: sorted((each.x, each.point.value) for each in marks if each.cell.artifact.model == model)
        for model in models
    }
    for line in lines.values():
        join_files(axis, line, theme.style)
    draw_levels(axis, marks, theme)
    sizes = [each.x for each in marks]
    log_axis(axis, "x", min(sizes) / 1.45, max(sizes) * 1.45)
    value_axis(axis, "y", ends_of(each.point for each in marks))
    axis.set_xlabel("file size, MiB")
    axis.set_ylabel("decode, tokens/s")
    notes = ["A grey line joins the files of one model."] if len(models) > 1 else []
    if len(cells) > 1 and any(each.point.lo < each.point.hi for each in marks):
        notes.append("Overlapping error bars are a tie.")
    frame(figure, theme, panel, cells, Frame(title="Decode speed against file size", notes=" ".join(notes)))
    if len(models) > 1:
        name_points(figure, axis, lines.items(), theme.style, places=FAR)
    rows = [
        row_of(each.cell, file_bytes=each.cell.artifact.file_bytes, **ends("decode_tps", each.point)) for each in marks
    ]
    return Picture(figure, rows)
