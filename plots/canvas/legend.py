"""Entries of a legend: levels by colour, families by marker, synthetic weights by filling."""

from collections.abc import Sequence

from matplotlib.lines import Line2D

from plots.canvas.panels import levels_of
from plots.canvas.series import mark
from plots.canvas.style import Marker, filling_of
from plots.canvas.text_width import printable
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary

_GREY = "#555555"
_FILLINGS = {"full": "real weights", "hollow": "synthetic weights", "half": "stand-in's shape"}


def mark_keys(cells: Sequence[CellSummary], theme: Theme) -> list[Line2D]:
    """Return the entries of a chart of marks that no line joins: levels, families and fillings."""
    return [*level_keys(cells, theme, lines=False), *family_keys(cells, theme), *filling_keys(cells)]


def level_keys(cells: Sequence[CellSummary], theme: Theme, *, lines: bool = True, marks: bool = True) -> list[Line2D]:
    """Return an entry for each level: its line, a mark where the chart has no lines, or both."""
    arches, fillings = {cell.artifact.arch for cell in cells}, {filling_of(cell) for cell in cells}
    shape = theme.marker_of(next(iter(arches))) if len(arches) == 1 else "s"
    filling = next(iter(fillings)) if len(fillings) == 1 else "full"
    first = {cell.artifact.level: cell for cell in cells}
    return [
        Line2D(
            [],
            [],
            linestyle=theme.dash_of(first[level]) if lines else "none",
            color=theme.looks[level].colour,
            label=level,
            **(mark(theme.looks[level].colour, shape, filling, theme.looks[level].rim) if marks else {"marker": ""}),
        )
        for level in levels_of(cells)
    ]


def family_keys(cells: Sequence[CellSummary], theme: Theme) -> list[Line2D]:
    """Return an entry for each family: its marker; none where there is only one."""
    arches = sorted({cell.artifact.arch for cell in cells})
    return [_key(printable(arch), theme.marker_of(arch), "full") for arch in arches] if len(arches) > 1 else []


def filling_keys(cells: Sequence[CellSummary]) -> list[Line2D]:
    """Return entries that distinguish real, synthetic and stand-in where a chart has more than one of them."""
    found = {filling_of(cell) for cell in cells}
    if len(found) < 2 or any(cell.kind == "estimated" for cell in cells):
        return []
    return [_key(word, "o", filling) for filling, word in _FILLINGS.items() if filling in found]


def _key(label: str, marker: Marker, filling: str) -> Line2D:
    return Line2D([], [], linestyle="none", color=_GREY, label=label, **mark(_GREY, marker, filling))
