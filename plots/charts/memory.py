"""Memory by level, stacked by part, with the measured total as a mark: the parts must add up to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from plots.canvas.caption import caption, marks
from plots.canvas.chart_input import Picture, Row, ends, row_of
from plots.canvas.panels import Panel, at_common_threads, levels_of, models_of, spread
from plots.canvas.series import error_bars
from plots.canvas.sheet import finish, rows_that_fit, sheet
from plots.canvas.style import Look, Style
from plots.canvas.text_width import shortened
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment

_MIB = 1 << 20
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
    compute buffer (with the output buffer) what was used. Where a record does not tell it, a part is as large as
    llama.cpp set it aside, and then weights are cut to what the peak leaves for them.
    """
    if cell.model_rss_bytes is None or cell.model_rss_bytes.value <= 0 or cell.memory.weights_bytes is None:
        return None
    told = _told(cell)
    if cell.memory.remainder_bytes is None:
        over = sum(told.values()) - cell.model_rss_bytes.value
        told["weights"] -= min(max(0, over), told["weights"])
    rest = (
        cell.model_rss_bytes.value - sum(told.values())
        if cell.memory.remainder_bytes is None
        else cell.memory.remainder_bytes
    )
    return {name: value / _MIB for name, value in {**told, "remainder": max(0, rest)}.items()}


def _told(cell: CellSummary) -> dict[str, float]:
    touched = (
        cell.memory.compute_buffer_bytes
        if cell.memory.compute_touched_bytes is None
        else cell.memory.compute_touched_bytes
    )
    return {
        "weights": cell.memory.mapped_bytes or cell.memory.weights_bytes or 0,
        "repacked weights": cell.memory.repacked_bytes or 0,
        "KV cache": cell.memory.kv_cache_bytes or 0,
        "compute buffer": (touched or 0) + (cell.memory.output_buffer_bytes or 0),
        "runtime": cell.memory.runtime_bytes or 0,
    }


def _over(cell: CellSummary) -> float:
    """Give how many MiB the parts told exceed the measured peak."""
    if cell.memory.remainder_bytes is not None:
        return max(0.0, -cell.memory.remainder_bytes / _MIB)
    return max(0.0, (sum(_told(cell).values()) - (cell.model_rss_bytes.value if cell.model_rss_bytes else 0)) / _MIB)


def _panel_in(panel: Panel, style: Style) -> float:
    """Give a panel's height: a line per level, a title and an axis."""
    return (1.75 * len(levels_of(panel.cells)) + 6.0) * style.font / 72


def models_per_figure(panel: Panel, style: Style) -> int:
    """Tell how many panels fit."""
    return min(_COLUMNS, style.beside) * rows_that_fit(style, _panel_in(panel, style))


def memory_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Picture | str:
    """Draw the chart, or say why there is none."""
    with_parts = [cell for cell in panel.cells if parts_of(cell)]
    if not with_parts:
        return "the memory's parts are not known"
    cells = at_common_threads(with_parts)
    models, levels = models_of(cells), levels_of(cells)
    columns = min(len(models), _COLUMNS, style.beside)
    figure, axes = sheet(style, columns, -(-len(models) // columns), panel=_panel_in(panel, style))
    for axis, model in zip(axes, models, strict=False):
        _draw_model(axis, [cell for cell in cells if cell.artifact.model == model], levels, style)
        axis.set_title(shortened(model, figure.get_figwidth() / columns * 0.8, style.font), loc="left")
    for axis in axes[len(models) :]:
        axis.set_visible(False)
    words = "Resident memory at its peak, less the process before the model was opened. "
    words += _unexplained(cells)
    if len(models) > 1:
        words += "Scales differ between models. "
    estimated = cells[0].kind == "estimated"
    handles = [
        Patch(label=part, **_fill(part, estimated))
        for part in PARTS
        if any((parts_of(cell) or {})[part] for cell in cells)
    ]
    word = "estimated" if estimated else "measured"
    peak = Line2D([], [], linestyle="none", label=f"{word} peak", **_peak_mark(style))
    finish(
        figure,
        style,
        title="Memory by part",
        subtitle=marks(cells),
        words=words + caption(panel, cells, environment, ranges_only=True),
        handles=[*handles, peak],
    )
    return Picture(figure, [_row(cell) for cell in cells])


def _unexplained(cells: Sequence[CellSummary]) -> str:
    """Say what the runtime and the remainder are, and where parts and peak do not meet."""
    words = ""
    if any(cell.memory.runtime_bytes for cell in cells):
        words += "Runtime: Python's, llama.cpp's and ggml's own memory, most of it the vocabulary. "
    words += "Remainder: what no part explains. "
    over = max(map(_over, cells))
    if over >= 1 and any(cell.memory.remainder_bytes is None and _over(cell) for cell in cells):
        words += (
            f"Where the parts exceed the peak (by up to {over:.0f} MiB), weights are cut: they need not be resident. "
        )
    elif over >= 1:
        words += f"Where a bar passes the peak (by up to {over:.0f} MiB), parts were freed or shared before it. "
    return words


def _row(cell: CellSummary) -> Row:
    parts = {f"{name.replace(' ', '_')}_mib": value for name, value in (parts_of(cell) or {}).items()}
    peak = spread(cell, "model_rss_bytes")
    remainder = {"remainder_mib": cell.memory.remainder_bytes / _MIB} if cell.memory.remainder_bytes is not None else {}
    mib = tuple(end / _MIB for end in peak) if peak else None
    return row_of(cell, **{**parts, **remainder}, **ends("peak_mib", mib))  # type: ignore[arg-type]


def _draw_model(axis: Axes, cells: Sequence[CellSummary], levels: Sequence[str], style: Style) -> None:
    rows = [levels.index(cell.artifact.level) for cell in cells]
    starts = [0.0] * len(cells)
    for part in PARTS:
        lengths = [(parts_of(cell) or {})[part] for cell in cells]
        axis.barh(rows, lengths, left=starts, height=0.66, label=part, **_fill(part, cells[0].kind == "estimated"))
        starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    peaks = [point for cell in cells if (point := spread(cell, "model_rss_bytes"))]
    peaks = [(middle / _MIB, low / _MIB, high / _MIB) for middle, low, high in peaks]
    middles = [point[0] for point in peaks]
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
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": style.font - 1}
    for row, (middle, _, high) in zip(rows, peaks, strict=True):
        axis.annotate(f"{middle:.0f}", (high, row), xytext=(0.5 * style.font, 0), **beside)
    for row in set(range(len(levels))) - set(rows):
        axis.annotate("no figures", (0, row), xytext=(0.4 * style.font, 0), color="#777777", **beside)
    axis.set_yticks(range(len(levels)), levels)
    axis.set_ylim(len(levels) - 0.4, -0.6)
    axis.set_xlim(0, max(*(point[2] for point in peaks), *starts) * 1.22)
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
