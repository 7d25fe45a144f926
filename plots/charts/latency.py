"""Latency against the number of unique parameters: prefill, time to first token, decode.

Colours are levels, markers families, fillings tell real weights from made-up ones. No line joins different models.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from plots.canvas.caption import caption, marks
from plots.canvas.chart_input import Picture, Row, ends, row_of
from plots.canvas.labels import boxes, name_points
from plots.canvas.legend import family_keys, filling_keys, level_keys
from plots.canvas.panels import Panel, Point, at_common_threads, levels_of, models_of, ms_per_token, spread
from plots.canvas.series import draw_levels, shifts_pt
from plots.canvas.sheet import finish, log_ticks, panel_in, sheet
from plots.canvas.style import Look, Style
from plots.charts.published import Published, draw_published, published_key, told
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment

_MILLION = 1e6
ValueOf = Callable[[CellSummary], Point | None]
_AROUND = 1.6  # a factor left free on both sides of the models


def _prefill(cell: CellSummary) -> Point | None:
    found = spread(cell, "prefill_tps")
    return ms_per_token(found) if found else None


def _decode(cell: CellSummary) -> Point | None:
    found = spread(cell, "decode_tps")
    return ms_per_token(found) if found else None


def _ttft(cell: CellSummary) -> Point | None:
    return spread(cell, "ttft_ms")


_FIGURES = (
    ("prefill_ms_per_token", "prefill, ms per token", _prefill),
    ("ttft_ms", "time to first token, ms", _ttft),
    ("decode_ms_per_token", "decode, ms per token", _decode),
)


def latency_chart(
    panel: Panel,
    environment: Environment | None,
    style: Style,
    look_of: Mapping[str, Look],
    *,
    published: Sequence[Published] = (),
) -> Picture | str:
    """Draw the chart, or say why there is none; `published` results of other boards stand faintly behind."""
    with_figures = [cell for cell in panel.cells if any(value_of(cell) for _, _, value_of in _FIGURES)]
    if not with_figures:
        return "no cell has figures"
    cells = at_common_threads(with_figures)
    present = [each for each in _FIGURES if any(each[2](cell) for cell in cells)]
    figure, axes = sheet(style, len(present))
    levels = levels_of(cells)
    sizes = [cell.artifact.n_params / _MILLION for cell in cells]
    low, high = min(sizes) / _AROUND, max(sizes) * _AROUND
    behind = [each for each in published if low <= each.n_params / _MILLION <= high]
    shifts = shifts_pt(len(levels), [math.log(size) for size in sizes], panel_in(figure, axes[0]), style)
    shift_of = dict(zip(levels, shifts, strict=True))
    shown: list[Published] = []
    for axis, (name, label, value_of) in zip(axes, present, strict=True):
        marked = [
            (cell, cell.artifact.n_params / _MILLION, point) for cell in cells if (point := value_of(cell)) is not None
        ]
        draw_levels(axis, marked, look_of, shift_of=shift_of)
        seen = [end for _, _, point in marked for end in point]
        shown += draw_published(axis, behind, name, style)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlim(low, high)
        seen += [value for each in behind if (value := each.ms(name)) is not None]
        axis.set_ylim(min(seen) / 1.25, max(seen) * 1.25)
        log_ticks(axis.xaxis, *axis.get_xlim())
        log_ticks(axis.yaxis, *axis.get_ylim())
        axis.set_xlabel("unique parameters, million")
        axis.set_title(label, loc="left")
    beside = "Levels stand beside each other at each model. " if any(shifts) else ""
    finish(
        figure,
        style,
        title="Latency against model size",
        subtitle=marks(cells),
        words=beside + told(shown) + caption(panel, cells, environment),
        handles=[
            *level_keys(cells, look_of, lines=False),
            *family_keys(cells),
            *filling_keys(cells),
            *published_key(shown),
        ],
    )
    if len(models_of(cells)) > 1:
        for axis, (_, _, value_of) in zip(axes, present, strict=True):
            _name_models(figure, axis, cells, value_of, shift_of, style)
    rows = [row_of(cell, **_figures(cell, [(name, value_of) for name, _, value_of in present])) for cell in cells]
    return Picture(figure, [*rows, *(each.row() for each in dict.fromkeys(shown))])


def _figures(cell: CellSummary, present: Sequence[tuple[str, ValueOf]]) -> Row:
    return {key: value for name, value_of in present for key, value in ends(name, value_of(cell)).items()}


def _name_models(
    figure: Figure,
    axis: Axes,
    cells: Sequence[CellSummary],
    value_of: ValueOf,
    shift_of: Mapping[str, float],
    style: Style,
) -> None:
    """Name the models of which the name fits: by the fastest or the slowest of a model's marks."""
    points: dict[str, list[tuple[float, float]]] = {}
    taken: list[Bbox] = []
    half = 0.3 * style.font * figure.dpi / 72
    for cell in cells:
        if (point := value_of(cell)) is not None:
            x = cell.artifact.n_params / _MILLION
            points.setdefault(cell.artifact.model, []).append((x, point[0]))
            bar = axis.transData.transform([(x, end) for end in point])
            bar[:, 0] += shift_of[cell.artifact.level] * figure.dpi / 72
            taken += boxes(bar, half, joined=False)
    places = {name: [min(line, key=lambda p: p[1]), max(line, key=lambda p: p[1])] for name, line in points.items()}
    name_points(figure, axis, places.items(), style, taken=taken)
