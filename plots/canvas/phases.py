"""Prefill and decode against a count: a row of panels per model, a line per level."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plots.canvas.chart_input import Row, ends, row_of
from plots.canvas.labels import end_labels_fit, end_room, label_ends
from plots.canvas.legend import filling_keys, level_keys
from plots.canvas.panels import levels_of, models_of, pair_rank
from plots.canvas.series import Series, draw_series, shifts_pt
from plots.canvas.sheet import count_ticks, name_panel, panel_in, rows_that_fit, sheet
from plots.canvas.style import Style
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary
from profiler.records.span import Span

Line = Mapping[int, tuple[CellSummary, Span]]  # by count


class Phase(msgspec.Struct, frozen=True):
    """One column of panels: its name, its figure and the field of the setting that is the count."""

    name: str
    tps_of: Callable[[CellSummary], Span | None]
    field: str

    def count(self, cell: CellSummary) -> int:
        """Return a cell's place on the x axis."""
        return int(getattr(cell.config, self.field))


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What the x axis counts, and what else a panel shows of its lines."""

    label: str
    column: str  # of the CSV file
    also: Callable[[Axes, Sequence[Line], Style], None] = lambda axis, lines, style: None


class Phases(msgspec.Struct, frozen=True):
    """Panels whose texts around them are still missing; `name_ends` names the lines when those are placed."""

    figure: Figure
    rows: list[Row]
    handles: list[object]
    name_ends: Callable[[], None]


def rows_per_figure(style: Style, n_phases: int) -> int:
    """Return how many models fit."""
    return max(1, rows_that_fit(style, 0.9 * style.panel) // (1 if style.most_columns > 1 else n_phases))


def measured_phases(cells: Sequence[CellSummary], phases: Sequence[Phase]) -> list[Phase]:
    """Return the phases that any cell has figures of."""
    return [phase for phase in phases if any(phase.tps_of(cell) for cell in cells)]


def draw_phases(theme: Theme, cells: Sequence[CellSummary], phases: Sequence[Phase], counted: Counted) -> Phases:
    """Draw the panels of all models."""
    models, levels = models_of(cells), levels_of(cells)
    figure, axes = sheet(theme.style, len(phases), len(models))
    room_in = panel_in(axes[0])
    panel_height_in = figure.get_figheight() * len(phases) / len(axes)
    named = end_labels_fit(levels, room_in, 0.6 * panel_height_in, theme.style)
    share = end_room(levels, room_in, theme.style) if named else 0.0
    rows: list[Row] = []
    last: list[tuple[Axes, dict[str, tuple[float, float]], float]] = []
    panels = [(model, phase) for model in models for phase in phases]
    for axis, (model, phase) in zip(axes, panels, strict=True):
        lines = {
            level: _line([c for c in cells if (c.artifact.model, c.artifact.level) == (model, level)], phase)
            for level in levels
        }
        counts = sorted({count for line in lines.values() for count in line})
        if not counts:
            axis.set_visible(False)
            continue
        shifts = shifts_pt(len(levels), counts, room_in, theme.style)
        for line, shift in zip(lines.values(), shifts, strict=True):
            _draw_line(axis, line, shift, theme)
        rows += [
            row_of(cell, phase=phase.name, **{counted.column: count}, **ends("tokens_per_s", point))
            for line in lines.values()
            for count, (cell, point) in line.items()
        ]
        counted.also(axis, list(lines.values()), theme.style)
        last.append((axis, {level: _last(line) for level, line in lines.items() if line}, max(shifts)))
        axis.set_ylim(0, max(point.hi for line in lines.values() for _, point in line.values()) * 1.12)
        edge = 0.08 * (counts[-1] - counts[0]) or 1.0
        low, high = counts[0] - edge, counts[-1] + edge
        axis.set_xlim(low, high + (high - low) * share / (1 - share))
        count_ticks(axis.xaxis, counts, room_in * (1 - share), theme.style.font)
        axis.set_xlabel(counted.label)
        axis.set_ylabel(f"{phase.name}, tokens/s")
        if phase is phases[0]:
            name_panel(axis, model, theme.style, room_in=0.8 * figure.get_figwidth())

    def name_ends() -> None:
        for axis, places, shift_pt in last if named else ():
            label_ends(axis, places, theme.style, shift_pt)

    return Phases(figure, rows, [*([] if named else level_keys(cells, theme)), *filling_keys(cells)], name_ends)


def _line(cells: Sequence[CellSummary], phase: Phase) -> dict[int, tuple[CellSummary, Span]]:
    """Return one level's cells and points by count.

    Prefill does not depend on decode's threads, nor decode on prefill's. Of several cells of one count the one with
    both counts equal is taken, not the fastest, which would be the luckiest.
    """
    chosen: dict[int, tuple[CellSummary, Span]] = {}
    for cell in sorted(cells, key=pair_rank):
        if point := phase.tps_of(cell):
            chosen[phase.count(cell)] = (cell, point)
    return dict(sorted(chosen.items()))


def _draw_line(axis: Axes, line: Line, shift_pt: float, theme: Theme) -> None:
    if line:
        cell, points = next(iter(line.values()))[0], [point for _, point in line.values()]
        draw_series(axis, Series(cell=cell, xs=list(line), points=points, shift_pt=shift_pt), theme)


def _last(line: Line) -> tuple[float, float]:
    count = max(line)
    return count, line[count][1].value
