"""Tokens per second against threads, one row of panels per model, one series per level."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from plots.caption import caption, is_synthetic
from plots.load import Panel, levels_of, models_of, spread
from plots.sheet import error_bars, finish, sheet
from plots.style import Look, Style
from profiler.record import Environment
from profiler.summary import CellSummary

_FIGURES = (("prefill", "prefill_tps", "n_threads_batch"), ("decode", "decode_tps", "n_threads"))
MAX_MODELS = 6  # rows that still fit a page


def threads_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Figure | str:
    """Draw the chart, or say why there is none."""
    if len({cell.n_threads for cell in panel.cells}) < 2 and len({cell.n_threads_batch for cell in panel.cells}) < 2:
        return "only one thread count was measured"
    present = [each for each in _FIGURES if any(spread(cell, each[1]) for cell in panel.cells)]
    models = models_of(panel.cells)[:MAX_MODELS]
    figure, axes = sheet(style, len(present), len(models), width=style.page if len(present) > 1 else style.column)
    handles: dict[str, Any] = {}
    shown = [cell for cell in panel.cells if cell.model in models]
    for row, model in enumerate(models):
        for column, (label, name, field) in enumerate(present):
            axis = axes[row * len(present) + column]
            cells = [cell for cell in shown if cell.model == model]
            counts = sorted({getattr(cell, field) for cell in cells})
            tops: list[float] = []
            for level in levels_of(shown):
                series = _series([cell for cell in cells if cell.quant == level], field, name)
                if not series:
                    continue
                look = look_of[level]
                drawn = axis.errorbar(
                    [x for x, _ in series],
                    [point[0] for _, point in series],
                    yerr=error_bars([point for _, point in series]),
                    color=look.colour,
                    marker=look.marker,
                    label=level,
                )
                handles.setdefault(level, drawn)
                tops += [point[2] for _, point in series]
                if series[0][0] == counts[0] and len(series) > 1:
                    base = series[0][1][0] / counts[0]
                    axis.plot(counts, [base * count for count in counts], color=look.colour, lw=0.6, ls=":", alpha=0.6)
            axis.set_ylim(0, max(tops, default=1.0) * 1.12)
            axis.set_xticks(counts)
            axis.margins(x=0.08)
            axis.set_xlabel("threads")
            axis.set_ylabel("tokens per second")
            axis.set_title(f"{model}: {label}", loc="left")
    left_out = len(models_of(panel.cells)) - len(models)
    words = caption(panel, shown, environment, f"threads {_listed(shown)}")
    finish(
        figure,
        style,
        title="Speed against threads",
        subtitle="synthetic weights" if is_synthetic(shown) else "",
        words=f"Dotted: the first count's speed, scaled. {words}"
        + (f" {left_out} larger models left out." if left_out else ""),
        handles=list(handles.values()),
    )
    return figure


def _series(cells: list[CellSummary], field: str, name: str) -> list[tuple[int, tuple[float, float, float]]]:
    """Give the points of one level; prefill does not depend on decode's threads, so equal counts show their best."""
    best: dict[int, tuple[float, float, float]] = {}
    for cell in cells:
        point = spread(cell, name)
        count = getattr(cell, field)
        if point is not None and (count not in best or point[0] > best[count][0]):
            best[count] = point
    return sorted(best.items())


def _listed(cells: list[CellSummary]) -> str:
    return ", ".join(str(count) for count in sorted({cell.n_threads for cell in cells}))
