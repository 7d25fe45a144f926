"""What each level still answers: accuracy against speed and memory, and task by task against bits per weight."""

from collections.abc import Callable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from plots.canvas.chart_input import Picture, Row, ends, row_of
from plots.canvas.figures import accuracy_pct, decode_tps, peak_mib, percent_of
from plots.canvas.frame import Frame, frame
from plots.canvas.legend import level_keys
from plots.canvas.panels import Panel, at_common_threads, models_of
from plots.canvas.series import Mark, draw_levels
from plots.canvas.sheet import grid, name_panel
from plots.canvas.style import Style
from plots.canvas.text_width import printable
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary
from profiler.records.span import Span

_MOST_TASKS = 6  # of a model; the tables have all
_Dash = Literal["-", "--", ":", "-."]
_DASHES: tuple[_Dash, ...] = ("-", "--", ":", "-.")  # by the number of examples
_GREY = "#808080"
_NOTES = (
    "Bars: 95 % intervals over items. Levels answered the same items, so that a difference can be sure where these "
    "bars overlap: the tables compare item by item."
)


def models_per_figure(_panel: Panel, _style: Style) -> int:
    """Return how many models one figure shows."""
    return 1


def accuracy_chart(panel: Panel, theme: Theme) -> Picture | str:
    """Draw the chart, or return why there is none."""
    answered = [cell for cell in panel.cells if cell.accuracy.mean is not None]
    if not answered:
        return "no tasks were asked, see slmprof tasks"
    cells = at_common_threads(answered)
    tasks = _tasks_of(cells)
    figure, axes = grid(theme.style, 2 + len(tasks), 2)
    rows = [row_of(cell, **ends("accuracy_pct", accuracy_pct(cell)), **ends("decode_tps", decode_tps(cell)),
                   **ends("peak_mib", peak_mib(cell))) for cell in cells]  # fmt: skip
    title = "Mean of tasks" if len(tasks) > 1 else "Accuracy"
    for axis, value_of, label in (
        (axes[0], decode_tps, "decode, tokens/s"),
        (axes[1], peak_mib, "peak memory, MiB"),
    ):
        _draw_mean(axis, cells, value_of, theme)
        axis.set_xlabel(label)
        name_panel(axis, title, theme.style)
    for axis, task in zip(axes[2:], tasks, strict=True):
        rows += _draw_task(axis, task, cells, theme)
    for axis in axes:
        axis.set_ylabel("accuracy, %")
    shots = _compared_shots(cells)
    handles = level_keys(cells, theme, lines=False)
    if shots:
        handles += [Line2D([], [], color=_GREY, linestyle=_dash(n, shots), label=f"{n}-shot") for n in shots]
    notes = _NOTES if len(_all_tasks(cells)) == len(tasks) else f"{_NOTES} Shown are {len(tasks)} of the tasks."
    own = Frame(title=f"What {printable(models_of(cells)[0])} still answers", notes=notes, handles=handles)
    frame(figure, theme, panel, cells, own)
    return Picture(figure, rows)


def _all_tasks(cells: Sequence[CellSummary]) -> list[str]:
    return list(dict.fromkeys(each.task for cell in cells for each in cell.accuracy.by_task))


def _tasks_of(cells: Sequence[CellSummary]) -> list[str]:
    """Return the tasks that have a panel: those of the most items first, where there are too many."""
    sizes = {each.task: each.n_items for cell in cells for each in cell.accuracy.by_task}
    kept = set(sorted(sizes, key=lambda task: -sizes[task])[:_MOST_TASKS])
    return [task for task in _all_tasks(cells) if task in kept]


def _draw_mean(
    axis: Axes, cells: Sequence[CellSummary], value_of: Callable[[CellSummary], Span | None], theme: Theme
) -> None:
    marks = [
        Mark(cell, across.value, point, across)
        for cell in cells
        if (across := value_of(cell)) is not None and (point := accuracy_pct(cell)) is not None
    ]
    if not marks:
        axis.set_visible(False)
        return
    draw_levels(axis, marks, theme)
    axis.set_xlim(0, 1.1 * max(each.across.hi for each in marks if each.across))
    _percent(axis, [each.point for each in marks])


def _draw_task(axis: Axes, task: str, cells: Sequence[CellSummary], theme: Theme) -> list[Row]:
    found = [(cell, each) for cell in cells for each in cell.accuracy.by_task if each.task == task]
    compared = _compared_shots(cells)
    shots = sorted({each.n_shots for _, each in found})
    marks = [Mark(cell, cell.artifact.bpw, percent_of(each.accuracy)) for cell, each in found]
    for n_shots in shots:
        line = sorted((cell.artifact.bpw, 100 * each.accuracy.value) for cell, each in found if each.n_shots == n_shots)
        axis.plot(*zip(*line, strict=True) if line else ([], []), color=_GREY, linestyle=_dash(n_shots, compared),
                  linewidth=0.6 * theme.style.line, marker="", zorder=1)  # fmt: skip
    draw_levels(axis, marks, theme)
    axis.set_xlabel("bits per weight")
    axis.set_xlim(0, 1.1 * max(each.x for each in marks))
    _percent(axis, [each.point for each in marks])
    name_panel(axis, printable(task) + (f", {shots[0]}-shot" if len(shots) == 1 else ""), theme.style)
    return [
        row_of(cell, task=task, n_shots=each.n_shots, n_items=each.n_items, metric=each.metric,
               **ends("accuracy_pct", percent_of(each.accuracy)))
        for cell, each in found
    ]  # fmt: skip


def _compared_shots(cells: Sequence[CellSummary]) -> list[int]:
    """Return the numbers of examples of tasks that were asked with several."""
    shots: dict[str, set[int]] = {}
    for cell in cells:
        for each in cell.accuracy.by_task:
            shots.setdefault(each.task, set()).add(each.n_shots)
    return sorted({n_shots for found in shots.values() if len(found) > 1 for n_shots in found})


def _dash(n_shots: int, shots: Sequence[int]) -> _Dash:
    return _DASHES[shots.index(n_shots) % len(_DASHES)] if n_shots in shots else _DASHES[0]


def _percent(axis: Axes, points: Sequence[Span]) -> None:
    """Leave room around the points; accuracy does not begin at zero, where all levels would look alike."""
    lo, hi = min(each.lo for each in points), max(each.hi for each in points)
    room = max(2.0, 0.1 * (hi - lo))
    axis.set_ylim(max(-2.0, lo - room), min(102.0, hi + room))
