"""Latency: prefill, time to first token, decode. Against unique parameters for three models or more, else by level.

Where there are mixtures of experts, a second chart has the active parameters: those that one token uses.

Colours are levels, markers families, fillings distinguish real weights from synthetic ones. A thin line joins the
models of one level.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plots.canvas.chart_input import Picture, Row, ends, row_of
from plots.canvas.figures import MILLION, decode_ms, ends_of, prefill_ms, ttft_ms
from plots.canvas.frame import Frame, frame
from plots.canvas.labels import FAR, boxes, name_points
from plots.canvas.legend import filling_keys, mark_keys
from plots.canvas.panels import Panel, at_common_threads, levels_of, models_of
from plots.canvas.series import Mark, draw_levels, join_levels, joined_marks, row_mark, shifts_pt
from plots.canvas.sheet import log_axis, panel_in, sheet, value_axis
from plots.canvas.style import Style
from plots.canvas.text_width import shortened
from plots.canvas.theme import Theme
from plots.charts.published import Published, draw_published, published_key, published_note
from profiler.records.cell_summary import CellSummary
from profiler.records.span import Span

ValueOf = Callable[[CellSummary], Span | None]
_FIGURES: tuple[tuple[str, str, ValueOf], ...] = (
    ("prefill_ms_per_token", "prefill, ms per token", prefill_ms),
    ("ttft_ms", "time to first token, ms", ttft_ms),
    ("decode_ms_per_token", "decode, ms per token", decode_ms),
)


class _Size(NamedTuple):
    """What is along x."""

    of: Callable[[CellSummary], int]
    label: str
    title: str
    note: str = ""


_UNIQUE = _Size(lambda cell: cell.artifact.n_params, "unique parameters, million", "Latency against model size")
_ACTIVE = _Size(
    lambda cell: cell.artifact.n_params_active or cell.artifact.n_params,
    "active parameters, million",
    "Latency against active parameters",
    "Of a mixture of experts, those count that one token uses.",
)
_AROUND = 1.6  # a factor left free on both sides of the models
_LEAST_MODELS = 3  # that an axis of parameters needs
# A line rises to the right: above it left of a mark and below it right of one there is room.
_PLACES = ((-0.7, 0.6, "right"), (0.7, -0.6, "left"), (-0.2, 1.2, "right"), (0.2, -1.2, "left"), *FAR)
_LINE_BOXES = 32  # along a line from model to model, so that no name fits between two of them
_ROW_EM = 1.5  # height of a level's row, in font sizes


def latency_chart(panel: Panel, theme: Theme, *, published: Sequence[Published] = ()) -> Picture | str:
    """Draw the chart, or return why there is none; `published` results of other boards are faint behind it."""
    with_figures = [cell for cell in panel.cells if any(value_of(cell) for _, _, value_of in _FIGURES)]
    if not with_figures:
        return "no cell has figures"
    cells = at_common_threads(with_figures)
    present = _present(cells)
    sizes = [cell.artifact.n_params for cell in cells]
    behind = [each for each in published if min(sizes) / _AROUND <= each.n_params <= max(sizes) * _AROUND]
    rows = [row_of(cell, **_columns(cell, present)) for cell in cells]
    if len(models_of(cells)) < _LEAST_MODELS and not behind:
        return Picture(_by_level(panel, cells, present, theme), rows)
    figure, shown = _by_parameters(panel, cells, _UNIQUE, behind, theme)
    return Picture(figure, [*rows, *(each.row() for each in dict.fromkeys(shown))])


def active_latency_chart(panel: Panel, theme: Theme) -> Picture | str:
    """Draw the chart against active parameters, or return why there is none."""
    with_figures = [cell for cell in panel.cells if any(value_of(cell) for _, _, value_of in _FIGURES)]
    if not has_experts(with_figures):
        return "no model is a mixture of experts"
    cells = at_common_threads(with_figures)
    if len(models_of(cells)) < _LEAST_MODELS:
        return f"fewer than {_LEAST_MODELS} models"
    figure, _ = _by_parameters(panel, cells, _ACTIVE, (), theme)
    return Picture(figure, [row_of(cell, **_columns(cell, _present(cells))) for cell in cells])


def has_experts(cells: Sequence[CellSummary]) -> bool:
    """Return whether one of the models is a mixture of experts."""
    return any(_ACTIVE.of(cell) != _UNIQUE.of(cell) for cell in cells)


def _present(cells: Sequence[CellSummary]) -> list[tuple[str, str, ValueOf]]:
    return [each for each in _FIGURES if any(each[2](cell) for cell in cells)]


def _columns(cell: CellSummary, present: Sequence[tuple[str, str, ValueOf]]) -> Row:
    return {key: value for name, _, value_of in present for key, value in ends(name, value_of(cell)).items()}


def _by_level(
    panel: Panel, cells: Sequence[CellSummary], present: Sequence[tuple[str, str, ValueOf]], theme: Theme
) -> Figure:
    """Draw a row per level with a dot in each panel; the rows of two models are stacked, each model under its name."""
    models, levels = models_of(cells), levels_of(cells)
    heads = {} if len(models) == 1 else {model: place * (len(levels) + 1) for place, model in enumerate(models)}
    row_of_cell = {
        cell.cell_key: heads.get(cell.artifact.model, -1) + 1 + levels.index(cell.artifact.level) for cell in cells
    }
    names = {row_of_cell[cell.cell_key]: cell.artifact.level for cell in cells}
    n_rows = max(names) + 1
    figure, axes = sheet(theme.style, len(present), panel=(_ROW_EM * n_rows + 4.5) * theme.style.font / 72)
    for place, (axis, (_, label, value_of)) in enumerate(zip(axes, present, strict=True)):
        marks = [row_mark(cell, row_of_cell[cell.cell_key], point) for cell in cells if (point := value_of(cell))]
        draw_levels(axis, marks, theme)
        value_axis(axis, "x", ends_of(each.across for each in marks if each.across))
        is_first = place == 0 or theme.style.most_columns == 1
        axis.set_yticks(list(names), [name if is_first else "" for name in names.values()])
        axis.set_ylim(n_rows - 0.4, -0.6)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(label)
        for model, row in heads.items() if is_first else ():
            name = shortened(model, 0.9 * panel_in(axis), theme.style.font)
            axis.text(0, row, name, transform=axis.get_yaxis_transform(), va="center", fontweight="bold")
    title = "Latency by level"
    if len(models) == 1:
        title += f" of {shortened(models[0], 0.5 * figure.get_figwidth(), theme.style.font + 1)}"
    frame(figure, theme, panel, cells, Frame(title=title, notes="Left is faster.", handles=filling_keys(cells)))
    return figure


def _by_parameters(
    panel: Panel,
    cells: Sequence[CellSummary],
    size: _Size,
    behind: Sequence[Published],
    theme: Theme,
) -> tuple[Figure, list[Published]]:
    """Draw every level's latency against parameters; also return which published results are in it."""
    present = _present(cells)
    figure, axes = sheet(theme.style, len(present))
    levels, sizes = levels_of(cells), [size.of(cell) / MILLION for cell in cells]
    shifts = shifts_pt(len(levels), [math.log(each) for each in sizes], panel_in(axes[0]), theme.style)
    shift_of = dict(zip(levels, shifts, strict=True))
    joined = len(models_of(cells)) >= _LEAST_MODELS
    shown: list[Published] = []
    marked: list[tuple[Axes, list[Mark]]] = []
    for axis, (name, label, value_of) in zip(axes, present, strict=True):
        marks = [Mark(cell, size.of(cell) / MILLION, point) for cell in cells if (point := value_of(cell))]
        if joined:
            join_levels(axis, marks, theme, shift_of)
        draw_levels(axis, marks, theme, shift_of)
        shown += draw_published(axis, behind, name, theme.style)
        seen = ends_of(each.point for each in marks)
        seen += [value for each in behind if (value := each.ms(name)) is not None]
        log_axis(axis, "x", min(sizes) / _AROUND, max(sizes) * _AROUND)
        log_axis(axis, "y", min(seen) / 1.25, max(seen) * 1.25)
        axis.set_xlabel(size.label)
        axis.set_title(label, loc="left")
        marked.append((axis, marks))
    notes = [size.note] if size.note else []
    notes += ["A thin line joins the models of one level."] if joined else []
    notes += ["Levels are side by side at each model."] if any(shifts) else []
    own = Frame(
        title=size.title,
        notes=" ".join([*notes, *published_note(shown)]),
        handles=[*mark_keys(cells, theme), *published_key(shown)],
    )
    frame(figure, theme, panel, cells, own)
    for axis, marks in marked if len(models_of(cells)) > 1 else ():
        _name_models(axis, marks, shift_of, theme.style, joined=joined)
    return figure, shown


def _name_models(
    axis: Axes, marks: Sequence[Mark], shift_of: Mapping[str, float], style: Style, *, joined: bool
) -> None:
    """Name the models of which the name fits: by the fastest or the slowest of a model's marks."""
    figure = axis.figure
    assert isinstance(figure, Figure)
    points: dict[str, list[tuple[float, float]]] = {}
    taken = []
    half = 0.3 * style.font * figure.dpi / 72

    def drawn_at(places: Sequence[tuple[float, float]], level: str) -> Any:
        pixels = axis.transData.transform(places)
        pixels[:, 0] += shift_of[level] * figure.dpi / 72
        return pixels

    for each in marks:
        places = [(each.x, end) for end in (each.point.value, *ends_of([each.point]))]
        pixels = drawn_at(places, each.cell.artifact.level)
        x, y = axis.transData.inverted().transform(pixels[0])
        points.setdefault(each.cell.artifact.model, []).append((float(x), float(y)))
        taken += boxes(pixels, half, per_piece=1)
    for line in joined_marks(marks).values() if joined else ():
        pixels = drawn_at([(each.x, each.point.value) for each in line], line[0].cell.artifact.level)
        taken += boxes(pixels, 0.5, per_piece=_LINE_BOXES)
    ends_named = {name: [min(line, key=lambda p: p[1]), max(line, key=lambda p: p[1])] for name, line in points.items()}
    name_points(figure, axis, ends_named.items(), style, places=_PLACES, taken=taken)
