"""One series of a chart: its points with their intervals, and its line in the legend."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from plots.load import Point
from plots.style import Look, Style

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
) -> None:
    """Draw points with their bars; what is estimated is hollow and dashed.

    `shift_pt` moves the drawing sideways, not the data.
    """
    figure, thin = axis.figure, 0.8 * matplotlib.rcParams["lines.linewidth"]
    assert figure is not None
    place = axis.transData + ScaledTranslation(shift_pt / 72, 0, figure.dpi_scale_trans)
    drawn = axis.errorbar(
        xs,
        [point[0] for point in points],
        yerr=error_bars(points) if any(low < high for _, low, high in points) else None,
        color=look.colour,
        linestyle=_line(estimated) if joined else "none",
        elinewidth=thin,
        capthick=thin,
        label=label,
        transform=place,
    )
    drawn.lines[0].set(**_mark(look, estimated))  # not in errorbar, which would give the caps the mark's rim


def legend_line(look: Look, label: str, *, estimated: bool, joined: bool = True) -> Line2D:
    """Make a series' entry for the legend."""
    return Line2D(
        [],
        [],
        linestyle=_line(estimated) if joined else "none",
        color=look.colour,
        label=label,
        **_mark(look, estimated),
    )


def _line(estimated: bool) -> Literal["--", "-"]:
    return "--" if estimated else "-"


def _mark(look: Look, estimated: bool) -> dict[str, Any]:
    return {
        "marker": look.marker,
        "markerfacecolor": "white" if estimated else look.colour,
        "markeredgecolor": look.colour if estimated else "white",
        "markeredgewidth": 0.9 if estimated else _RIM_PT,
    }


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
