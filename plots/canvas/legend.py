"""Entries of a legend: levels by colour, families by marker, made-up weights by filling."""

from collections.abc import Mapping, Sequence

from matplotlib.lines import Line2D

from plots.canvas.panels import levels_of
from plots.canvas.series import mark
from plots.canvas.style import Look, Marker, filling_of, marker_of
from plots.canvas.text_width import printable
from profiler.records.cell_summary import CellSummary

_GREY = "#555555"
_FILLINGS = {"full": "real weights", "hollow": "synthetic weights", "half": "stand-in's shape"}


def level_keys(
    cells: Sequence[CellSummary], look_of: Mapping[str, Look], *, lines: bool = True, marks: bool = True
) -> list[Line2D]:
    """Name each level by its line, by a mark where the chart has no lines, or by both."""
    estimated = any(cell.kind == "estimated" for cell in cells)
    arches = {cell.artifact.arch for cell in cells}
    shape = marker_of(next(iter(arches))) if len(arches) == 1 else "s"
    fillings = {filling_of(cell) for cell in cells}
    filling = "hollow" if estimated else next(iter(fillings)) if len(fillings) == 1 else "full"
    return [
        Line2D(
            [],
            [],
            linestyle=("--" if estimated else look_of[level].dash) if lines else "none",
            color=look_of[level].colour,
            label=level,
            **(mark(look_of[level].colour, shape, filling, look_of[level].rim) if marks else {"marker": ""}),
        )
        for level in levels_of(cells)
    ]


def family_keys(cells: Sequence[CellSummary]) -> list[Line2D]:
    """Name each family by its marker; none where there is only one."""
    arches = sorted({cell.artifact.arch for cell in cells})
    return [_key(printable(arch), marker_of(arch), "full") for arch in arches] if len(arches) > 1 else []


def filling_keys(cells: Sequence[CellSummary]) -> list[Line2D]:
    """Tell real, synthetic and stand-in apart where a chart has more than one of them."""
    found = {filling_of(cell) for cell in cells}
    if len(found) < 2 or any(cell.kind == "estimated" for cell in cells):
        return []
    return [_key(word, "o", filling) for filling, word in _FILLINGS.items() if filling in found]


def _key(label: str, marker: Marker, filling: str) -> Line2D:
    return Line2D([], [], linestyle="none", color=_GREY, label=label, **mark(_GREY, marker, filling))
