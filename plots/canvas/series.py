"""One series of a chart: its points with their intervals."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from plots.canvas.panels import Point, levels_of
from plots.canvas.style import Dash, Look, Marker, Style, filling_of, marker_of
from profiler.records.cell_summary import CellSummary

_RIM_PT = 0.35  # a white rim keeps two marks apart where they meet


def draw_series(
    axis: Axes,
    xs: Sequence[float],
    points: Sequence[Point],
    look: Look,
    label: str,
    *,
    estimated: bool,
    joined: bool = True,
    shift_pt: float = 0.0,
    marker: Marker = "o",
    filling: str = "full",
    across: Sequence[Point] | None = None,
    faint: bool = False,
) -> None:
    """Draw points with their bars; what is estimated is hollow and dashed.

    Args:
        shift_pt: moves the drawing sideways, not the data.
        marker: of the family; filling: of style.filling_of.
        across: the bars along x, where x was measured too.
        faint: the points stand back behind others.
    """
    figure, thin = axis.figure, 0.8 * matplotlib.rcParams["lines.linewidth"]
    assert figure is not None
    place = axis.transData + ScaledTranslation(shift_pt / 72, 0, figure.dpi_scale_trans)
    drawn = axis.errorbar(
        xs,
        [point[0] for point in points],
        yerr=error_bars(points) if any(low < high for _, low, high in points) else None,
        xerr=error_bars(across) if across and any(low < high for _, low, high in across) else None,
        color=look.colour,
        linestyle=_line(look, estimated) if joined else "none",
        elinewidth=thin,
        capthick=thin,
        label=label,
        transform=place,
        alpha=0.35 if faint else None,
        zorder=2 if faint else 3,
    )
    # Not in errorbar, which would give the caps the mark's rim.
    drawn.lines[0].set(**mark(look.colour, marker, "hollow" if estimated else filling, look.rim))


def draw_levels(
    axis: Axes,
    marked: Sequence[tuple[CellSummary, float, Point]],
    look_of: Mapping[str, Look],
    *,
    shift_of: Mapping[str, float] | None = None,
    across: Mapping[str, Point] | None = None,
    faint: Collection[str] = (),
) -> None:
    """Draw cells of several models that no line joins: each level, family and filling as a series.

    Args:
        marked: cells, each with its place on the x axis and its value.
        shift_of: by level; across: bars along x by the cell's key; faint: keys of cells that stand back.
    """
    groups: dict[tuple[str, Marker, str, bool], list[tuple[float, Point, Point | None]]] = {}
    for cell, x, point in marked:
        key = (cell.artifact.level, marker_of(cell.artifact.arch), filling_of(cell), cell.cell_key in faint)
        groups.setdefault(key, []).append((x, point, (across or {}).get(cell.cell_key)))
    estimated = any(cell.kind == "estimated" for cell, _, _ in marked)
    for level in levels_of([cell for cell, _, _ in marked]):
        for (quant, marker, filling, back), items in groups.items():
            if quant == level:
                wide = [each for _, _, each in items if each is not None]
                draw_series(
                    axis,
                    [x for x, _, _ in items],
                    [point for _, point, _ in items],
                    look_of[level],
                    level,
                    estimated=estimated,
                    joined=False,
                    shift_pt=(shift_of or {}).get(level, 0.0),
                    marker=marker,
                    filling=filling,
                    across=wide if len(wide) == len(items) else None,
                    faint=back,
                )


def mark(colour: str, marker: Marker, filling: str, rim: str = "white") -> dict[str, Any]:
    """Give matplotlib's words for a mark that is full, hollow, or half full."""
    if filling == "full":
        return {"marker": marker, "markerfacecolor": colour, "markeredgecolor": rim, "markeredgewidth": _RIM_PT}
    edge = {"marker": marker, "markeredgecolor": colour, "markeredgewidth": 0.9}
    if filling == "half":
        return {**edge, "fillstyle": "bottom", "markerfacecolor": colour, "markerfacecoloralt": "white"}
    return {**edge, "markerfacecolor": "white"}


def _line(look: Look, estimated: bool) -> Dash:
    return "--" if estimated else look.dash


def error_bars(points: Sequence[Point]) -> list[list[float]]:
    """Turn (middle, low, high) into matplotlib's lengths below and above."""
    return [[max(0.0, mid - low) for mid, low, _ in points], [max(0.0, high - mid) for mid, _, high in points]]


def shifts_pt(count: int, places: Sequence[float], room_in: float, style: Style) -> list[float]:
    """Give each of `count` series its shift, so that all stand beside each other at every place.

    Args:
        places: where points stand on an axis `room_in` long, in units of that axis (logarithms on a logarithmic one).
    """
    ordered = sorted(set(places))
    most_pt = min(0.22, 1.5 / count) * style.font
    if len(ordered) == 1:
        most_pt, gap_in = style.font, room_in
    else:
        gap_in = room_in * min(after - before for before, after in pairwise(ordered)) / (ordered[-1] - ordered[0])
    step_pt = min(most_pt, 72 * 0.5 * gap_in / count)
    return [(number - (count - 1) / 2) * step_pt for number in range(count)]
