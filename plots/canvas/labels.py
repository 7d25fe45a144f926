"""Names next to marks instead of in a legend: each where it covers nothing, or not at all."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from plots.canvas.style import Style
from plots.canvas.text_width import shortened, width_in

Place = tuple[float, float, str]
Extents = np.ndarray[tuple[int, ...], np.dtype[np.float64]]  # x0, y0, x1, y1 in pixels, a row each
# Places for a name, best first, in font sizes from its point.
NEAR: tuple[Place, ...] = ((0.7, 0.6, "left"), (-0.7, -0.6, "right"), (0.7, -0.6, "left"), (-0.7, 0.6, "right"),
                           (0.0, 1.1, "center"), (0.0, -1.1, "center"))  # fmt: skip
FAR: tuple[Place, ...] = (*NEAR[:4], (1.4, 1.6, "left"), (-1.4, -1.6, "right"), (2.0, 2.8, "left"),
                          (-2.0, -2.8, "right"), (3.0, 4.2, "left"), (-3.0, -4.2, "right"))  # fmt: skip
_INK = "#333333"
_LEAST_LINE = 1.15  # of a label's height to its font size


def name_points(
    figure: Figure,
    axis: Axes,
    points_of: Iterable[tuple[str, Sequence[tuple[float, float]]]],
    style: Style,
    *,
    places: Sequence[Place] = NEAR,
    taken: Iterable[Bbox] = (),
) -> list[str]:
    """Write each name by one of its points, in the first place where it covers nothing; return the names that fitted.

    Args:
        points_of: names with their points.
        taken: what else no name may cover, in pixels.
    """
    points_of = list(points_of)
    axis.get_xlim(), axis.get_ylim()  # computes limits that are still automatic
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    size = style.font - 1.5
    half = 0.35 * size * figure.dpi / 72
    full = _extents([*taken, *(box for _, line in points_of for box in boxes(axis.transData.transform(line), half))])
    right = figure.bbox.x1 if len(figure.axes) == 1 else axis.bbox.x1
    edge = (axis.bbox.x0, axis.bbox.y0, right, axis.bbox.y1)
    step = size * figure.dpi / 72
    named = []
    for name, line in points_of:
        shown = shortened(name, 0.45 * figure.get_figwidth(), size)
        width, height = _size_px(figure, shown, size, renderer)
        pixels = axis.transData.transform(line)
        for (dx, dy, align), place in ((place, which) for place in places for which in range(len(line))):
            x, y = pixels[place][0] + dx * step, pixels[place][1] + dy * step
            left = x - {"left": 0.0, "center": 0.5, "right": 1.0}[align] * width
            box = (left, y - height / 2, left + width, y + height / 2)
            inside = edge[0] < box[0] and box[2] < edge[2] and edge[1] < box[1] and box[3] < edge[3]
            if not inside or _covers(box, full):
                continue
            axis.annotate(
                shown,
                line[place],
                textcoords="offset points",
                xytext=(dx * size, dy * size),
                ha=align,
                va="center",
                fontsize=size,
                color=_INK,
                arrowprops={
                    "arrowstyle": "-",
                    "color": "#777777",
                    "linewidth": 0.5 * style.line,
                    "shrinkA": 0,
                    "shrinkB": 2,
                },
            )
            full = np.vstack([full, box])
            named.append(name)
            break
    return named


def _size_px(figure: Figure, text: str, size: float, renderer: object) -> tuple[float, float]:
    """Measure a text's box without drawing it."""
    probe = Text(0, 0, text, fontsize=size, va="center", figure=figure)
    box = probe.get_window_extent(renderer)  # type: ignore[arg-type]
    return float(box.width), float(box.height)


def _extents(found: Sequence[Bbox]) -> Extents:
    return np.array([box.extents for box in found], dtype=np.float64).reshape(-1, 4)


def _covers(box: tuple[float, float, float, float], full: Extents) -> bool:
    x0, y0, x1, y1 = full.T
    return bool(np.any((box[0] <= x1) & (x0 <= box[2]) & (box[1] <= y1) & (y0 <= box[3])))


def boxes(places: Any, half: float, *, per_piece: int = 4) -> list[Bbox]:
    """Return boxes around the points of a line, `per_piece` from each point to the next; 1 for the points alone."""
    made = []
    for (x0, y0), (x1, y1) in [*pairwise(places), (places[-1], places[-1])]:
        for step in range(per_piece):
            x, y = x0 + (x1 - x0) * step / per_piece, y0 + (y1 - y0) * step / per_piece
            made.append(Bbox.from_extents(x - half, y - half, x + half, y + half))
    return made


def end_labels_fit(names: Sequence[str], panel_width_in: float, panel_height_in: float, style: Style) -> bool:
    """Return whether names fit in a column at the right end of a panel, and leave it most of its width."""
    size = style.font - 1
    return (
        0 < len(names) * size * _LEAST_LINE / 72 <= 0.75 * panel_height_in
        and max(width_in(name, size) for name in names) <= 0.3 * panel_width_in
    )


def end_room(names: Sequence[str], panel_width_in: float, style: Style) -> float:
    """Return the share of a panel's width that names at its right end take."""
    return (max(width_in(name, style.font - 1) for name in names) + 0.8 * style.font / 72) / panel_width_in


def label_ends(axis: Axes, last: Mapping[str, tuple[float, float]], style: Style, shift_pt: float = 0.0) -> None:
    """Write each name right of its line's last point, none over another; the layout must be final.

    `shift_pt` is how far right of its place the last mark is drawn.
    """
    figure = axis.figure
    assert figure is not None
    size = style.font - 1
    step = size * _LEAST_LINE * figure.dpi / 72
    spots = {name: axis.transData.transform(point) for name, point in last.items()}
    order = sorted(spots, key=lambda name: spots[name][1])
    heights = _apart([float(spots[name][1]) for name in order], step, axis.bbox.y0 + step / 2, axis.bbox.y1)
    right = max((float(spot[0]) for spot in spots.values()), default=0.0)
    for name, height in zip(order, heights, strict=True):
        offset = (
            (right - spots[name][0]) * 72 / figure.dpi + 0.7 * size + shift_pt,
            (height - spots[name][1]) * 72 / figure.dpi,
        )
        moved = abs(offset[1]) > 0.4 * size or right - spots[name][0] > step
        axis.annotate(
            name,
            last[name],
            xytext=offset,
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=size,
            color=_INK,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.4 * style.line, "shrinkA": 0,
                        "shrinkB": 2} if moved else None,
        )  # fmt: skip


def _apart(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Move ascending heights as little as needed so that each is a step above the one before, all within the ends."""
    placed: list[float] = []
    for height in wanted:
        placed.append(max(height, low, placed[-1] + step if placed else low))
    ceiling = high
    for place in reversed(range(len(placed))):
        placed[place] = min(placed[place], ceiling)
        ceiling = placed[place] - step
    return placed
