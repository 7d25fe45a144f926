"""Memory by level, stacked by part, with the measured total as a mark: the parts must add up to it."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from plots.canvas.chart_input import Picture, Row, ends, row_of
from plots.canvas.figures import MIB, ends_of, peak_mib
from plots.canvas.frame import Frame, frame
from plots.canvas.panels import Panel, at_common_threads, levels_of, models_of
from plots.canvas.series import error_bars
from plots.canvas.sheet import grid, name_panel, rows_that_fit
from plots.canvas.style import Style
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary

# Not the colours of levels, so that no colour has two meanings. Source: Paul Tol, Colour Schemes (2021), "muted".
PARTS = {
    "weights": ("#332288", ""),
    "repacked weights": ("#44AA99", "////"),
    "KV cache": ("#DDCC77", "...."),
    "compute buffer": ("#CC6677", "xxxx"),
    "runtime": ("#88CCEE", ""),
    "remainder": ("#BBBBBB", ""),
}
_COLUMNS = 3


def parts_of(cell: CellSummary) -> dict[str, float] | None:
    """Split a cell's measured peak (less the process before the model) into MiB; None without the figures.

    Each part is what profiler/analysis/memory_parts.py counts as resident: of mapped weights the touched pages, of the
    compute buffer (with the output buffer) what was used. Where a record lacks it, a part is as large as llama.cpp
    allocated it, and then weights are cut to what the peak leaves for them.
    """
    peak, remainder = cell.model_rss_bytes, cell.memory.remainder_bytes
    if peak is None or peak.value <= 0 or cell.memory.weights_bytes is None:
        return None
    known = _known(cell)
    if remainder is None:
        over = sum(known.values()) - peak.value
        known["weights"] -= min(max(0, over), known["weights"])
        remainder = round(peak.value - sum(known.values()))
    return {name: value / MIB for name, value in {**known, "remainder": max(0, remainder)}.items()}


def _known(cell: CellSummary) -> dict[str, float]:
    memory = cell.memory
    touched = memory.compute_buffer_bytes if memory.compute_touched_bytes is None else memory.compute_touched_bytes
    return {
        "weights": memory.mapped_bytes or memory.weights_bytes or 0,
        "repacked weights": memory.repacked_bytes or 0,
        "KV cache": memory.kv_cache_bytes or 0,
        "compute buffer": (touched or 0) + (memory.output_buffer_bytes or 0),
        "runtime": memory.runtime_bytes or 0,
    }


def _over(cell: CellSummary) -> float:
    """Return by how many MiB the known parts exceed the measured peak."""
    peak, remainder = cell.model_rss_bytes, cell.memory.remainder_bytes
    if remainder is None:
        remainder = round((peak.value if peak else 0) - sum(_known(cell).values()))
    return max(0.0, -remainder / MIB)


def _panel_in(panel: Panel, style: Style) -> float:
    """Return a panel's height: a line per level, a title and an axis."""
    return (1.75 * len(levels_of(panel.cells)) + 6.0) * style.font / 72


def models_per_figure(panel: Panel, style: Style) -> int:
    """Return how many panels fit."""
    return min(_COLUMNS, style.most_columns) * rows_that_fit(style, _panel_in(panel, style))


def memory_chart(panel: Panel, theme: Theme) -> Picture | str:
    """Draw the chart, or return why there is none."""
    with_parts = [cell for cell in panel.cells if parts_of(cell)]
    if not with_parts:
        return "the memory's parts are not known"
    cells, style = at_common_threads(with_parts), theme.style
    models, levels = models_of(cells), levels_of(cells)
    figure, axes = grid(style, len(models), _COLUMNS, panel=_panel_in(panel, style))
    for axis, model in zip(axes, models, strict=True):
        _draw_model(axis, [cell for cell in cells if cell.artifact.model == model], levels, style)
        name_panel(axis, model, style)
    is_estimated = cells[0].kind == "estimated"
    handles: list[Any] = [
        Patch(label=part, **_fill(part, is_estimated))
        for part in PARTS
        if any((parts_of(cell) or {})[part] for cell in cells)
    ]
    peak = f"{'estimated' if is_estimated else 'measured'} peak"
    own = Frame(
        title="Memory by part",
        notes="Peak resident memory, less the process before the model was opened. " + _unexplained(cells),
        bars="range",
        scales_differ=True,
        handles=[*handles, Line2D([], [], linestyle="none", label=peak, **_peak_mark(style))],
    )
    frame(figure, theme, panel, cells, own)
    return Picture(figure, [_row(cell) for cell in cells])


def _unexplained(cells: Sequence[CellSummary]) -> str:
    """Return what the runtime and the remainder are, and where parts and peak do not meet."""
    words = []
    if any(cell.memory.runtime_bytes for cell in cells):
        words.append("Runtime: memory of Python, llama.cpp and ggml themselves, most of it the vocabulary.")
    words.append("Remainder: what no part explains.")
    over = max(map(_over, cells))
    if over >= 1 and any(cell.memory.remainder_bytes is None and _over(cell) for cell in cells):
        words.append(
            f"Where the parts exceed the peak (by up to {over:.0f} MiB), weights are cut: they need not be resident."
        )
    elif over >= 1:
        words.append(f"Where a bar passes the peak (by up to {over:.0f} MiB), parts were freed or shared before it.")
    return " ".join(words)


def _row(cell: CellSummary) -> Row:
    parts = {f"{name.replace(' ', '_')}_mib": value for name, value in (parts_of(cell) or {}).items()}
    remainder = {"remainder_mib": cell.memory.remainder_bytes / MIB} if cell.memory.remainder_bytes is not None else {}
    return row_of(cell, **{**parts, **remainder}, **ends("peak_mib", peak_mib(cell)))


def _draw_model(axis: Axes, cells: Sequence[CellSummary], levels: Sequence[str], style: Style) -> None:
    rows = [levels.index(cell.artifact.level) for cell in cells]
    starts = [0.0] * len(cells)
    for part in PARTS:
        lengths = [(parts_of(cell) or {})[part] for cell in cells]
        axis.barh(rows, lengths, left=starts, height=0.66, label=part, **_fill(part, cells[0].kind == "estimated"))
        starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    peaks = [point for cell in cells if (point := peak_mib(cell))]
    middles = [point.value for point in peaks]
    axis.errorbar(
        middles,
        rows,
        xerr=error_bars(peaks),
        linestyle="none",
        elinewidth=0.8 * style.line,
        capsize=0,
        label="peak",
        **_peak_mark(style),
    )
    next_to: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": style.font - 1}
    for row, peak in zip(rows, peaks, strict=True):
        axis.annotate(f"{peak.value:.0f}", (peak.hi, row), xytext=(0.5 * style.font, 0), **next_to)
    for row in set(range(len(levels))) - set(rows):
        axis.annotate("no figures", (0, row), xytext=(0.4 * style.font, 0), color="#777777", **next_to)
    axis.set_yticks(range(len(levels)), levels)
    axis.set_ylim(len(levels) - 0.4, -0.6)
    axis.set_xlim(0, max(*ends_of(peaks), *starts) * 1.22)
    axis.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
    axis.set_xlabel("resident memory, MiB")
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)


def _peak_mark(style: Style) -> dict[str, Any]:
    return {"color": "black", "marker": "|", "markersize": 0.9 * style.font, "markeredgewidth": style.line}


def _fill(part: str, estimated: bool) -> dict[str, Any]:
    colour, hatch = PARTS[part]
    if estimated:
        return {"facecolor": "white", "edgecolor": colour, "hatch": hatch, "linewidth": 0.8, "linestyle": "--"}
    return {"facecolor": colour, "edgecolor": "white", "hatch": hatch, "linewidth": 0.4}
