"""Whether the device kept its speed: rounds and anchors in the order of time."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from plots.canvas.chart_input import ChartInput, Picture, Row, ends
from plots.canvas.series import error_bars
from plots.canvas.setting import device_in_words
from plots.canvas.sheet import finish, sheet
from plots.canvas.style import Style
from plots.canvas.theme import Theme
from profiler.analysis.rates import rates_of
from profiler.analysis.stats import median
from profiler.records.round import Round
from profiler.records.span import Span
from profiler.results.stored import RoundHead, cells_of, heads_of

_LEAST_TIMES = 4
_MOST_ROUNDS = 1000  # in a report each mark is a line of the page
_COLOURS = {"prefill": ("#7B9BB5", "v"), "decode": ("#4D6B57", "^"), "anchor": ("#000000", "D")}
_OPENING = 2  # N_OPENING of profiler/sweep/reference_cell.py
_MINUTE_S, _HOUR_S = 60, 3600
_MANY = 2000  # marks that are drawn without bars, as pixels
_NOTES = (
    "Each round's speed against the median of its cell's rounds, the reference cell's against its first two runs; "
    "bars: slowest and fastest repetition. Up is faster."
)


def drift_charts(inputs: ChartInput, theme: Theme) -> Iterator[tuple[str, Picture | str]]:
    """Draw a chart for each device; levels do not matter here, since each cell is compared with itself."""
    if not inputs.rounds:
        yield "", "needs the rounds of a results file"
        return
    shown = {(cell.cell_key, cell.env_id) for cell in inputs.cells}
    heads = [head for head in heads_of(inputs.rounds)
             if (head.cell.key, head.env_id) in shown and _counts(head)]  # fmt: skip
    env_ids = list(dict.fromkeys(head.env_id for head in heads))
    for env_id in env_ids:
        rounds = [head for head in heads if head.env_id == env_id]
        anchors = [record for record in inputs.anchors if record.env_id == env_id and _counts(record)]
        part = env_id if len(env_ids) > 1 else ""
        keys = list(dict.fromkeys((head.cell.key, env_id) for head in rounds))
        if len({head.started_at for head in [*rounds, *anchors]}) < _LEAST_TIMES:
            yield part, f"fewer than {_LEAST_TIMES} rounds were measured"
        elif len(rounds) == len(keys) and len(anchors) < _LEAST_TIMES:
            yield part, "no cell has a second round to compare with"
        else:
            # Of very many cells some are enough to see what the device did, as long as they are spread over the sweep.
            step = -(-len(rounds) // _MOST_ROUNDS)
            seen = [_seen(record) for cell in cells_of(inputs.rounds, set(keys[::step])) for record in cell
                    if _counts(record)]  # fmt: skip
            subset = f"Shown are {len(keys[::step])} of {len(keys)} cells, spread over the sweep." if step > 1 else ""
            yield part, _chart(seen, [_seen(each) for each in anchors], theme, subset)


class _Seen(NamedTuple):
    """A round without its steps, and what is drawn of it."""

    record: Round
    prefill: list[float]
    decode: list[float]
    timed: list[float]
    hottest_c: float | None


def _seen(record: Round) -> _Seen:
    rates = rates_of(record)
    warm = [each.after.temperature_c for each in record.samples if each.after.temperature_c is not None]
    return _Seen(
        msgspec.structs.replace(record, samples=(), memory={}),
        rates.prefill_each,
        rates.decode_each,
        [1e9 / sample.timed_ns for sample in record.samples if sample.timed_ns],
        max(warm, default=None),
    )


_Off = tuple[Round, Span]  # a round, and its median, slowest and fastest repetition in per cent


def _chart(rounds: Sequence[_Seen], anchors: Sequence[_Seen], theme: Theme, subset: str) -> Picture:
    style = theme.style
    times = [_time_s(each.record) for each in [*rounds, *anchors]]
    start = min(times)
    unit_s, unit = (_HOUR_S, "h") if max(times) - start > 3 * _HOUR_S else (_MINUTE_S, "min")
    found = {
        "prefill": _relative([(each.record, each.prefill) for each in rounds]),
        "decode": _relative([(each.record, each.decode) for each in rounds]),
        "anchor": _anchored([(each.record, each.timed) for each in anchors]),
    }
    warm = [(each.record, each.hottest_c) for each in [*rounds, *anchors] if each.hottest_c is not None]
    figure, axes = sheet(style, 1, 2 if warm else 1, panel=(0.75 if warm else 1.0) * style.panel)
    axis, rows = axes[0], list[Row]()
    axis.axhline(0, color="#777777", linestyle=":", linewidth=0.8 * style.line)
    handles = []
    for name, points in found.items():
        if points:
            xs = [(_time_s(record) - start) / unit_s for record, _ in points]
            handles.append(_draw_points(axis, name, xs, points, style))
            rows += [_row(name, each, start) for each in points]
    axis.set_ylabel("speed, % off the\ncell's median")
    axes[-1].set_xlabel(f"time since the first round, {unit}")
    if warm:
        warm.sort(key=lambda each: _time_s(each[0]))
        axes[1].plot([(_time_s(record) - start) / unit_s for record, _ in warm], [value for _, value in warm],
                     color="#AA4499", marker="", linewidth=0.8 * style.line)  # fmt: skip
        axes[1].set_ylabel("hottest, °C")
        axes[1].set_xlim(axis.get_xlim())
        rows += [{"what": "temperature", "started_at": record.started_at, "time_s": _time_s(record) - start,
                  "order": record.order, "temperature_c": value} for record, value in warm]  # fmt: skip
    words = [_NOTES, subset]
    if suspect := sum(each.record.doubt is not None for each in rounds):
        words.append(f"{suspect} rounds are suspect and were or will be re-measured.")
    env_id = rounds[0].record.env_id if rounds else anchors[0].record.env_id
    if not theme.in_report and (environment := theme.environments.get(env_id)):
        words.append(f"{device_in_words(environment)}.")
    finish(figure, style, title="Drift over the sweep", subtitle="", words=" ".join(words), handles=handles)
    return Picture(figure, rows)


def _draw_points(axis: Axes, name: str, xs: Sequence[float], points: Sequence[_Off], style: Style) -> ErrorbarContainer:
    colour, shape = _COLOURS[name]
    is_anchor, many = name == "anchor", len(points) > _MANY
    ys = [change for _, change in points]
    return axis.errorbar(
        xs,
        [change.value for change in ys],
        yerr=None if many else error_bars(ys),
        linestyle="-" if is_anchor else "none",
        linewidth=0.7 * style.line,
        marker=shape,
        markersize=(0.42 if is_anchor else 0.32) * style.font,
        markeredgewidth=0,
        color=colour,
        elinewidth=0.4 * style.line,
        capsize=0,
        alpha=1.0 if is_anchor else 0.75,
        label="drift control's reference cell" if is_anchor else f"{name} of each round",
        zorder=4 if is_anchor else 3,
        rasterized=many,
    )


def _row(name: str, point: _Off, start: float) -> Row:
    record, change = point
    return {
        "what": name, "started_at": record.started_at, "time_s": _time_s(record) - start, "order": record.order,
        "round": record.round, "cell_key": record.cell.key, "env_id": record.env_id, **ends("change_pct", change),
        "doubt": record.doubt.name if record.doubt else None,
    }  # fmt: skip


def _time_s(record: Round) -> float:
    return datetime.fromisoformat(record.started_at).replace(tzinfo=UTC).timestamp()


def _counts(record: RoundHead | Round) -> bool:
    """Return whether a round went well and has a readable time: a results file is untrusted."""
    try:
        datetime.fromisoformat(record.started_at)
    except ValueError:
        return False
    return record.status == "ok"


def _relative(rated: Sequence[tuple[Round, list[float]]]) -> list[_Off]:
    """Return each round's median, slowest and fastest repetition in per cent off its cell's median."""
    cells: dict[str, list[tuple[Round, list[float]]]] = {}
    for record, rates in rated:
        if rates:
            cells.setdefault(record.cell.key, []).append((record, rates))
    found = []
    for members in cells.values():
        level = median([median(rates) for _, rates in members])
        if len(members) > 1:
            found += [_off(record, rates, level) for record, rates in members]
    return found


def _anchored(anchors: Sequence[tuple[Round, list[float]]]) -> list[_Off]:
    timed = sorted((each for each in anchors if each[1]), key=lambda each: (each[0].started_at, each[0].order))
    if not timed:
        return []
    level = median([median(rates) for _, rates in timed[:_OPENING]])
    return [_off(record, rates, level) for record, rates in timed]


def _off(record: Round, rates: Sequence[float], level: float) -> _Off:
    middle, slowest, fastest = (100 * (rate / level - 1) for rate in (median(rates), min(rates), max(rates)))
    return record, Span(middle, slowest, fastest, "min-max")
