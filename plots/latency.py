"""Latency against the number of unique parameters: prefill, time to first token, decode; one series per level."""

import math
from collections.abc import Mapping

from matplotlib.figure import Figure

from plots.caption import caption, marks
from plots.load import Panel, Point, at_common_threads, levels_of, ms_per_token, spread
from plots.series import draw_series, legend_line, shifts_pt
from plots.sheet import finish, log_ticks, sheet
from plots.style import Look, Style
from profiler.record import Environment
from profiler.summary import CellSummary

_MILLION = 1e6
_AROUND = 1.6  # a factor left free on both sides of the models


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
    with_figures = [cell for cell in panel.cells if any(value_of(cell) for _, value_of in _FIGURES)]
    if not with_figures:
        return "no cell has figures"
    cells = at_common_threads(with_figures)
    present = [(label, value_of) for label, value_of in _FIGURES if any(value_of(cell) for cell in cells)]
    figure, axes = sheet(style, len(present))
    levels = levels_of(cells)
    estimated = cells[0].kind == "estimated"
    sizes = [cell.n_params / _MILLION for cell in cells]
    room_in = figure.get_figwidth() / len(axes) * 0.8
    shifts = shifts_pt(len(levels), [math.log(size) for size in sizes], room_in, style)
    for axis, (label, value_of) in zip(axes, present, strict=True):
        seen: list[float] = []
        for level, shift in zip(levels, shifts, strict=True):
            series = sorted((cell for cell in cells if cell.quant == level), key=lambda cell: cell.n_params)
            points = [(cell.n_params / _MILLION, point) for cell in series if (point := value_of(cell)) is not None]
            if points:
                xs, values = zip(*points, strict=True)
                draw_series(axis, xs, values, look_of[level], level, estimated=estimated, shift_pt=shift)
                seen += [end for point in values for end in point]
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlim(min(sizes) / _AROUND, max(sizes) * _AROUND)
        axis.set_ylim(min(seen) / 1.25, max(seen) * 1.25)
        log_ticks(axis.xaxis, *axis.get_xlim())
        log_ticks(axis.yaxis, *axis.get_ylim())
        axis.set_xlabel("unique parameters, million")
        axis.set_title(label, loc="left")
    beside = "Levels stand beside each other at each model. " if len(levels) > 1 else ""
    finish(
        figure,
        style,
        title="Latency against model size",
        subtitle=marks(cells),
        words=beside + caption(panel, cells, environment),
        handles=[legend_line(look_of[level], level, estimated=estimated) for level in levels],
    )
    return figure
