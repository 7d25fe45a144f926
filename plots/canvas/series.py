"""Marks of a chart with their bars: a series is one level of one family with one kind of weights."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib
import msgspec
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, Transform

from plots.canvas.figures import flat
from plots.canvas.panels import levels_of
from plots.canvas.style import Marker, Style, filling_of
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary
from profiler.records.span import Span

_RIM_PT = 0.35  # a white rim keeps two marks apart where they meet


class Mark(NamedTuple):
    """A cell's place in a chart: its value along y with its bar and, where x was measured too, the bar along x."""

    cell: CellSummary
    x: float
    point: Span
    across: Span | None = None
    faint: bool = False  # drawn behind the others


def row_mark(cell: CellSummary, row: int, figure: Span) -> Mark:
    """Return the mark of a cell that has a row of its own: its figure is along x."""
    return Mark(cell, figure.value, flat(row), figure)


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Points that share their look."""

    cell: CellSummary  # any of them: level, family and filling are the same
    xs: Sequence[float]
    points: Sequence[Span]
    across: Sequence[Span] | None = None  # the bars along x
    joined: bool = True
    shift_pt: float = 0.0  # moves the drawing sideways, not the data
    faint: bool = False


def draw_series(axis: Axes, series: Series, theme: Theme) -> None:
    """Draw points with their bars; what is estimated is hollow and dashed."""
    thin = 0.8 * matplotlib.rcParams["lines.linewidth"]
    points, across, look = series.points, series.across, theme.look_of(series.cell)
    drawn = axis.errorbar(
        series.xs,
        [point.value for point in points],
        yerr=error_bars(points) if any(point.lo < point.hi for point in points) else None,
        xerr=error_bars(across) if across and any(bar.lo < bar.hi for bar in across) else None,
        color=look.colour,
        linestyle=theme.dash_of(series.cell) if series.joined else "none",
        elinewidth=thin,
        capthick=thin,
        label=series.cell.artifact.level,
        transform=_shifted(axis, series.shift_pt),
        alpha=0.35 if series.faint else None,
        zorder=2 if series.faint else 3,
    )
    # Not in errorbar, which would draw the caps with the mark's rim.
    marker = theme.marker_of(series.cell.artifact.arch)
    drawn.lines[0].set(**mark(look.colour, marker, filling_of(series.cell), look.rim))


def draw_levels(axis: Axes, marks: Sequence[Mark], theme: Theme, shift_of: Mapping[str, float] | None = None) -> None:
    """Draw cells of several models: each level, family and filling as a series; `shift_of` in points by level."""
    shift_of = shift_of or {}
    groups: dict[tuple[str, Marker, str, bool], list[Mark]] = {}
    for each in marks:
        key = (each.cell.artifact.level, theme.marker_of(each.cell.artifact.arch), filling_of(each.cell), each.faint)
        groups.setdefault(key, []).append(each)
    for level in levels_of([each.cell for each in marks]):
        for (quant, *_, faint), items in groups.items():
            if quant == level:
                across = [each.across for each in items if each.across is not None]
                series = Series(
                    cell=items[0].cell,
                    xs=[each.x for each in items],
                    points=[each.point for each in items],
                    across=across if len(across) == len(items) else None,
                    joined=False,
                    shift_pt=shift_of.get(level, 0.0),
                    faint=faint,
                )
                draw_series(axis, series, theme)


def join_levels(axis: Axes, marks: Sequence[Mark], theme: Theme, shift_of: Mapping[str, float]) -> None:
    """Draw a thin line through the marks of each level and kind of weights, in the order of x."""
    for (level, _), items in joined_marks(marks).items():
        axis.plot(
            [each.x for each in items],
            [each.point.value for each in items],
            color=theme.looks[level].colour,
            linestyle=theme.dash_of(items[0].cell),
            linewidth=0.5 * theme.style.line,
            marker="",
            transform=_shifted(axis, shift_of.get(level, 0.0)),
            zorder=1,
        )


def joined_marks(marks: Sequence[Mark]) -> dict[tuple[str, str], list[Mark]]:
    """Return the marks that a line joins, by level and filling, in the order of x."""
    groups: dict[tuple[str, str], list[Mark]] = {}
    for each in sorted(marks, key=lambda each: (each.x, each.point.value)):
        groups.setdefault((each.cell.artifact.level, filling_of(each.cell)), []).append(each)
    return groups


def join_files(axis: Axes, places: Sequence[tuple[float, float]], style: Style) -> None:
    """Draw a grey line through files of one model."""
    axis.plot(*zip(*places, strict=True), color="#B0B0B0", linewidth=0.8 * style.line, marker="", zorder=1)


def _shifted(axis: Axes, shift_pt: float) -> Transform:
    figure = axis.figure
    assert figure is not None
    return axis.transData + ScaledTranslation(shift_pt / 72, 0, figure.dpi_scale_trans)


def mark(colour: str, marker: Marker, filling: str, rim: str = "white") -> dict[str, Any]:
    """Return matplotlib's keywords for a mark that is full, hollow, or half full."""
    if filling == "full":
        return {"marker": marker, "markerfacecolor": colour, "markeredgecolor": rim, "markeredgewidth": _RIM_PT}
    edge = {"marker": marker, "markeredgecolor": colour, "markeredgewidth": 0.9}
    if filling == "half":
        return {**edge, "fillstyle": "bottom", "markerfacecolor": colour, "markerfacecoloralt": "white"}
    return {**edge, "markerfacecolor": "white"}


def error_bars(points: Sequence[Span]) -> list[list[float]]:
    """Turn ranges into matplotlib's lengths below and above."""
    below = [max(0.0, point.value - point.lo) for point in points]
    return [below, [max(0.0, point.hi - point.value) for point in points]]


def shifts_pt(count: int, places: Sequence[float], room_in: float, style: Style) -> list[float]:
    """Return the shift of each of `count` series, so that all stand side by side at every place.

    Args:
        places: where points are on an axis `room_in` long, in units of that axis (logarithms on a logarithmic one).
    """
    ordered = sorted(set(places))
    most_pt = min(0.22, 1.5 / count) * style.font
    if len(ordered) == 1:
        most_pt, gap_in = style.font, room_in
    else:
        gap_in = room_in * min(after - before for before, after in pairwise(ordered)) / (ordered[-1] - ordered[0])
    step_pt = min(most_pt, 72 * 0.5 * gap_in / count)
    return [(number - (count - 1) / 2) * step_pt for number in range(count)]
