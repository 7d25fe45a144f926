"""Tokens per second against threads, one row of panels per model, one line per level."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from plots.canvas.chart_input import Picture
from plots.canvas.figures import decode_tps, prefill_tps
from plots.canvas.frame import Frame, frame
from plots.canvas.panels import Panel
from plots.canvas.phases import Counted, Line, Phase, draw_phases, measured_phases, rows_per_figure
from plots.canvas.style import Style
from plots.canvas.theme import Theme

_PHASES = (Phase("prefill", prefill_tps, "n_threads_batch"), Phase("decode", decode_tps, "n_threads"))


def models_per_figure(_: Panel, style: Style) -> int:
    """Return how many rows fit."""
    return rows_per_figure(style, len(_PHASES))


def threads_chart(panel: Panel, theme: Theme) -> Picture | str:
    """Draw the chart, or return why there is none."""
    phases = measured_phases(panel.cells, _PHASES)
    if not phases:
        return "no cell has figures"
    if all(len({phase.count(cell) for cell in panel.cells}) < 2 for phase in phases):
        return "only one thread count was measured"
    made = draw_phases(theme, panel.cells, phases, Counted(label="threads", column="threads", also=_perfect))
    notes = "Dotted: the fastest level at the fewest threads, scaled by the threads."
    own = Frame(title="Speed against threads", notes=notes, scales_differ=True, handles=made.handles)
    frame(made.figure, theme, panel, panel.cells, own)
    made.name_ends()
    return Picture(made.figure, made.rows)


def _perfect(axis: Axes, lines: Sequence[Line], style: Style) -> None:
    """Draw what perfect scaling would be."""
    counts = sorted({count for line in lines for count in line})
    if len(counts) > 1:
        first = max(line[counts[0]][1].value for line in lines if counts[0] in line)
        ends = [first * count / counts[0] for count in (counts[0], counts[-1])]
        axis.plot([counts[0], counts[-1]], ends, color="#777777", lw=0.8 * style.line, ls=":", marker="", zorder=1)
