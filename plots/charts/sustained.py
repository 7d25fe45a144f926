"""Sustained loads over time: speed, clock, temperature and power, one above the other."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from plots.canvas.chart_input import ChartInput, Picture, Row, row_of
from plots.canvas.panels import load_name, numbered, setting_of
from plots.canvas.setting import device_in_words, load_in_words
from plots.canvas.sheet import finish, sheet
from plots.canvas.text_width import printable
from plots.canvas.theme import Theme
from profiler.analysis.rates import rates_of
from profiler.analysis.sustained.figures import state_of
from profiler.analysis.sustained.steady import last_run
from profiler.records.cell_summary import CellSummary, State
from profiler.records.round import Round
from profiler.results.stored import cells_of
from profiler.tables.format import threads_in_words

_MINUTE_NS = 60e9
_MOST_DOTS = 300  # of a cell: in a report each is a line of the page
_MOST_CELLS = 8  # in one chart; the table has all
_GREY = "#555555"
_NOTES = (
    "Dots: requests; lines: medians of each minute; thick: the steady state, whose speed is the cell's. "
    "Speed is that of {phase}."
)


class _Run(NamedTuple):
    """The minutes of one cell."""

    cell: CellSummary
    minutes: list[Round]
    states: list[State]


class _Quantity(NamedTuple):
    """One panel."""

    label: str
    of_state: Callable[[State], float | None]


def sustained_charts(inputs: ChartInput, theme: Theme) -> Iterator[tuple[str, Picture | str]]:
    """Draw a chart for each model, device, load and setting that was sustained."""
    groups: dict[tuple[object, ...], list[CellSummary]] = {}
    for cell in inputs.cells:
        if cell.sustained:
            groups.setdefault((cell.artifact.model, *setting_of(cell)), []).append(cell)
    if not groups:
        yield "", "no load was sustained, see slmprof profile --sustain"
    seen: Counter[str] = Counter()
    for cells in groups.values():
        name = load_name(cells[0]).removesuffix("-sustained")
        yield numbered(name, seen), _chart(cells, inputs, theme)


def _chart(cells: Sequence[CellSummary], inputs: ChartInput, theme: Theme) -> Picture | str:
    runs = _runs(cells[:_MOST_CELLS], inputs)
    if not runs:
        return "needs the rounds of a results file"
    style, is_decode = theme.style, any(cell.decode_tps for cell in cells)
    quantities = [
        _Quantity("speed, t/s", lambda each: each.decode_tps if is_decode else each.prefill_tps),
        _Quantity("clock, GHz", lambda each: each.mhz / 1000 if each.mhz else None),
        _Quantity("hottest, °C", lambda each: each.temperature_c),
        _Quantity("power, W", lambda each: each.watts),
    ]
    quantities = [each for each in quantities if any(each.of_state(state) for run in runs for state in run.states)]
    figure, axes = sheet(style, 1, len(quantities), panel=0.55 * style.panel)
    rows: list[Row] = []
    for run in runs:
        _draw_requests(axes[0], run, theme, is_decode)
        for axis, quantity in zip(axes, quantities, strict=True):
            _draw_minutes(axis, run, quantity, theme)
        rows += _rows(run)
    lasted_min = max(cell.sustained.lasted_s for cell in cells if cell.sustained) / 60
    for axis, quantity in zip(axes, quantities, strict=True):
        axis.set_xlim(0, lasted_min or 1)
        axis.set_ylabel(quantity.label)
        if axis is not axes[-1]:
            axis.tick_params(labelbottom=False)
    axes[0].set_ylim(bottom=0)
    limited = [_draw_limits(axes[0], run, number, theme) for number, run in enumerate(runs)]
    axes[-1].set_xlabel("time since the first request, min")
    handles = [_handle(run, runs, theme) for run in runs]
    if any(limited):
        handles.append(Line2D([], [], linestyle="none", marker="|", color=_GREY, label="the system reports a limit"))
    finish(
        figure, style, title=f"{printable(cells[0].artifact.model)} under a sustained load",
        subtitle="" if cells[0].artifact.weights == "real" else "SYNTHETIC weights",
        words=_words(cells, runs, theme, is_decode=is_decode), handles=handles,
    )  # fmt: skip
    return Picture(figure, rows)


def _runs(cells: Sequence[CellSummary], inputs: ChartInput) -> list[_Run]:
    by_key = {(cell.cell_key, cell.env_id): cell for cell in cells}
    found = []
    for rounds in cells_of(inputs.rounds, set(by_key)):
        minutes = [record for record in last_run(rounds) if record.status == "ok" and record.samples]
        if minutes:
            cell = by_key[rounds[0].cell.key, rounds[0].env_id]
            found.append(_Run(cell, minutes, [state_of([record]) for record in minutes]))
    return found


def _draw_requests(axis: Axes, run: _Run, theme: Theme, is_decode: bool) -> None:
    points = [
        (((sample.start_ns or 0) + (sample.end_ns or 0)) / 2 / _MINUTE_NS, rate)
        for record in run.minutes
        for sample, rate in zip(record.samples, _rates(record, is_decode), strict=False)
    ]
    step = -(-len(points) // _MOST_DOTS) or 1
    axis.plot(
        [x for x, _ in points[::step]], [y for _, y in points[::step]], linestyle="none", marker="o", alpha=0.35,
        markersize=0.22 * theme.style.font, markeredgewidth=0, color=theme.look_of(run.cell).colour, zorder=2,
    )  # fmt: skip


def _rates(record: Round, is_decode: bool) -> list[float]:
    rates = rates_of(record)
    return rates.decode_each if is_decode else rates.prefill_each


def _draw_minutes(axis: Axes, run: _Run, quantity: _Quantity, theme: Theme) -> None:
    """Draw a line through the middles of the minutes, thick over the steady state."""
    assert run.cell.sustained is not None
    points = [
        (_middle_min(record), value, 60 * record.round >= run.cell.sustained.steady_from_s)
        for record, state in zip(run.minutes, run.states, strict=True)
        if (value := quantity.of_state(state)) is not None
    ]
    look, style = theme.look_of(run.cell), theme.style
    steady = [(x, y) for x, y, is_steady in points if is_steady]
    for shown, width, dash in (([(x, y) for x, y, _ in points], 0.9, theme.dash_of(run.cell)), (steady, 2.2, "-")):
        axis.plot(
            [x for x, _ in shown], [y for _, y in shown], color=look.colour, linestyle=dash,
            marker="." if len(shown) == 1 else "", linewidth=width * style.line, zorder=3,
        )  # fmt: skip


def _draw_limits(axis: Axes, run: _Run, number: int, theme: Theme) -> bool:
    """Mark the requests after which the device reported a limit, a row of marks for each cell."""
    xs = [(sample.end_ns or 0) / _MINUTE_NS for record in run.minutes for sample in record.samples
          if sample.after.throttle]  # fmt: skip
    step = -(-len(xs) // _MOST_DOTS) or 1
    axis.plot(xs[::step], [0.04 + 0.07 * number] * len(xs[::step]), transform=axis.get_xaxis_transform(),
              linestyle="none", marker="|", markersize=0.4 * theme.style.font, color=theme.look_of(run.cell).colour,
              markeredgewidth=0.4 * theme.style.line, zorder=4)  # fmt: skip
    return bool(xs)


def _middle_min(record: Round) -> float:
    """Return the middle of the time from the first request's start to the last one's end, in minutes."""
    first, last = record.samples[0], record.samples[-1]
    return ((first.start_ns or 0) + (last.end_ns or 0)) / 2 / _MINUTE_NS


def _handle(run: _Run, runs: Sequence[_Run], theme: Theme) -> Line2D:
    threads = {(each.cell.config.n_threads, each.cell.config.n_threads_batch) for each in runs}
    label = run.cell.artifact.level + (f", {threads_in_words(run.cell.config)}" if len(threads) > 1 else "")
    look = theme.look_of(run.cell)
    return Line2D([], [], color=look.colour, linestyle=theme.dash_of(run.cell), label=label)


def _words(cells: Sequence[CellSummary], runs: Sequence[_Run], theme: Theme, *, is_decode: bool) -> str:
    words = [_NOTES.format(phase="decode" if is_decode else "prefill")]
    if len(cells) > len(runs):
        words.append(f"Shown are {len(runs)} of {len(cells)} cells.")
    if not theme.in_report:
        words.append(f"Workload {printable(cells[0].config.workload)}: {load_in_words(cells)}.")
        if environment := theme.environments.get(cells[0].env_id):
            words.append(f"{device_in_words(environment, cells)}.")
    return " ".join(words)


def _rows(run: _Run) -> list[Row]:
    """Return a row for each minute."""
    assert run.cell.sustained is not None
    return [
        row_of(
            run.cell, minute=record.round + 1, n_requests=state.n_requests, prefill_tps=state.prefill_tps,
            decode_tps=state.decode_tps, output_tps=state.output_tps, itl_p50_ms=state.itl_p50_ms, mhz=state.mhz,
            temperature_c=state.temperature_c, watts=state.watts, throttle=";".join(state.throttle),
            steady=60 * record.round >= run.cell.sustained.steady_from_s,
        )
        for record, state in zip(run.minutes, run.states, strict=True)
    ]  # fmt: skip
