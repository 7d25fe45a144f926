"""Latency against the number of unique parameters: prefill, time to first token, decode; one series per level."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from plots.caption import caption, is_synthetic, threads_words
from plots.load import Panel, at_common_threads, levels_of, models_of, ms_per_token, spread
from plots.sheet import error_bars, finish, log_ticks, sheet
from plots.style import Look, Style
from profiler.record import Environment
from profiler.summary import CellSummary

_MILLION = 1e6
Point = tuple[float, float, float]


def _prefill(cell: CellSummary) -> Point | None:
    found = spread(cell, "prefill_tps")
    return ms_per_token(found) if found else None


def _decode(cell: CellSummary) -> Point | None:
    found = spread(cell, "decode_tps")
    return ms_per_token(found) if found else None


def _ttft(cell: CellSummary) -> Point | None:
    return spread(cell, "ttft_ms")


_FIGURES = (("prefill, ms per token", _prefill), ("time to first token, ms", _ttft), ("decode, ms per token", _decode))


def latency_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Figure | str:
    """Draw the chart, or say why there is none."""
    if not panel.cells:
        return "no cell has figures"
    cells, threads = at_common_threads(panel.cells)
    present = [(label, value_of) for label, value_of in _FIGURES if any(value_of(cell) for cell in cells)]
    if not present:
        return "no cell has figures"
    figure, axes = sheet(style, len(present))
    levels = levels_of(cells)
    handles: dict[str, Any] = {}
    for axis, (label, value_of) in zip(axes, present, strict=True):
        seen: list[float] = []
        for level in levels:
            series = sorted((cell for cell in cells if cell.quant == level), key=lambda cell: cell.n_params)
            points = [(cell.n_params / _MILLION, point) for cell in series if (point := value_of(cell)) is not None]
            if not points:
                continue
            look = look_of[level]
            estimated = series[0].kind == "estimated"
            drawn = axis.errorbar(
                [x for x, _ in points],
                [point[0] for _, point in points],
                yerr=error_bars([point for _, point in points]),
                color=look.colour,
                marker=look.marker,
                linestyle="--" if estimated else "-",
                markerfacecolor="none" if estimated else look.colour,
                label=level,
            )
            handles.setdefault(level, drawn)
            seen += [value for _, point in points for value in point]
        axis.set_xscale("log")
        axis.set_yscale("log")
        sizes = [cell.n_params / _MILLION for cell in cells]
        axis.set_xlim(min(sizes) / 1.6, max(sizes) * 1.6)
        axis.set_ylim(min(seen) / 1.25, max(seen) * 1.25)
        log_ticks(axis.xaxis, *axis.get_xlim())
        log_ticks(axis.yaxis, *axis.get_ylim())
        axis.set_xlabel("unique parameters, million")
        axis.set_title(label, loc="left")
    models = models_of(cells)
    sizes_of = {cell.model: cell.n_params / _MILLION for cell in cells}
    listed = ", ".join(f"{model} {sizes_of[model]:.0f}M" for model in models)
    finish(
        figure,
        style,
        title="Latency against model size",
        subtitle="synthetic weights" if is_synthetic(cells) else "",
        words=f"Models: {listed}. {caption(panel, cells, environment, threads_words(threads))}",
        handles=list(handles.values()),
    )
    return figure
