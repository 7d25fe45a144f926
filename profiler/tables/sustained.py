"""Sustained loads in words, and minute by minute."""

from collections.abc import Sequence

from profiler.analysis.sustained.figures import state_of
from profiler.analysis.sustained.steady import last_run
from profiler.records.cell_summary import CellSummary, State, Sustained
from profiler.records.span import Span
from profiler.results.file import Results
from profiler.results.stored import cells_of
from profiler.tables.format import aligned, clean, figure, level_names, load_name, threads_in_words
from quant.base.units import format_duration

_MOST_MINUTES = 30  # rows of one table
_SAME = 0.03  # two clocks within this share are one
_MHZ_PER_GHZ = 1000


def steady_in_words(cell: CellSummary) -> str:
    """Return the speed of a cell's steady state against its first minute, and what the device reported."""
    found, asked_s = cell.sustained, cell.config.sustain_s
    assert found is not None
    span, change = (
        (cell.decode_tps, found.decode_change) if cell.decode_tps else (cell.prefill_tps, found.prefill_change)
    )
    speed = f"{figure(span.value)} t/s" if span else "no speed"
    interrupted = ""
    if found.lasted_s < asked_s:
        interrupted = (
            f"; interrupted after {format_duration(found.lasted_s)} of {format_duration(asked_s)}, "
            "and the same command measures it again"
        )
    if found.n_minutes < 2:
        return f"{speed} in the first minute, and no other to compare it with{interrupted}"
    parts = [f"steady: {speed}{_compared(change)}", *_conditions(found)]
    last = f"from minute {round(found.steady_from_s / 60) + 1} of {found.n_minutes} on"
    if found.is_steady:
        parts.append(f"steady {last}")
    else:
        parts.append(f"not steady yet: the speed still changes {last}; use a longer --sustain")
    return "; ".join(parts) + interrupted


def _compared(change: Span | None) -> str:
    if change is None:
        return ""
    what = "" if change.kind == "interval" else ", smallest to largest"
    ends = f"[{_percent(change.lo)} to {_percent(change.hi)}{what}]"
    if change.lo <= 0 <= change.hi:
        return f", a tie with the first minute: {_percent(change.value)} {ends}"
    side = "below" if change.value < 0 else "above"
    return f", {100 * abs(change.value):.0f} % {side} the first minute {ends}"


def _percent(share: float) -> str:
    return f"{100 * share:+.0f} %"


def _conditions(found: Sustained) -> list[str]:
    first, steady = found.first, found.steady
    parts = []
    if first.mhz and steady.mhz:
        before, after = (f"{mhz / _MHZ_PER_GHZ:.1f}" for mhz in (first.mhz, steady.mhz))
        if abs(steady.mhz / first.mhz - 1) <= _SAME:
            parts.append(f"the clock stayed at {after} GHz")
        else:
            parts.append(f"the clock {'fell' if steady.mhz < first.mhz else 'rose'} from {before} to {after} GHz")
    if first.temperature_c is not None and steady.temperature_c is not None:
        parts.append(f"{first.temperature_c:.0f} °C, then {steady.temperature_c:.0f} °C")
    if steady.watts is not None:
        parts.append(f"{steady.watts:.1f} W")
    if steady.throttle:
        parts.append(f"the system reports {clean(', '.join(steady.throttle))}")
    return parts


def in_words(state: State) -> list[str]:
    """Return what the device reported, for a line of progress."""
    return [
        *([f"{state.mhz / _MHZ_PER_GHZ:.2f} GHz"] if state.mhz else []),
        *([f"{state.temperature_c:.0f} °C"] if state.temperature_c is not None else []),
        *([f"{state.watts:.1f} W"] if state.watts is not None else []),
        *([clean(", ".join(state.throttle))] if state.throttle else []),
    ]


def render_minutes(results: Results, summaries: Sequence[CellSummary]) -> str:
    """Write a table per sustained load, a row per minute; nothing where there is no such load."""
    cells = {(cell.cell_key, cell.env_id): cell for cell in summaries if cell.sustained}
    if not cells:
        return ""
    names = level_names(cell.artifact for cell in cells.values())
    found: dict[tuple[str, str], list[str]] = {}
    for rounds in cells_of(results.rounds, set(cells)):
        key = rounds[0].cell.key, rounds[0].env_id
        cell = cells[key]
        minutes = [record for record in last_run(rounds) if record.status == "ok"]
        step = -(-len(minutes) // _MOST_MINUTES)
        what = f"{names[cell.artifact.sha256]} with {threads_in_words(cell.config)}, {clean(load_name(cell.config))}"
        every = "" if step == 1 else f", every {step} minutes"
        title = f"## {clean(cell.artifact.model)} {what}: minute by minute{every}"
        rows = _rows([(record.round + 1, state_of([record])) for record in minutes[::step]])
        found[key] = [title, "", *aligned(rows), ""]
    return "\n".join(line for key in cells for line in found.get(key, [])).rstrip() + "\n"


def _rows(states: Sequence[tuple[int, State]]) -> list[list[str]]:
    """Return the rows under their head; a column that has nothing is omitted."""
    columns = {
        "minute": [str(minute) for minute, _ in states],
        "requests": [str(each.n_requests) for _, each in states],
        "prefill t/s": [_figure(each.prefill_tps) for _, each in states],
        "decode t/s": [_figure(each.decode_tps) for _, each in states],
        "output t/s": [_figure(each.output_tps) for _, each in states],
        "ITL p50 ms": [_figure(each.itl_p50_ms) for _, each in states],
        "clock GHz": [f"{each.mhz / _MHZ_PER_GHZ:.2f}" if each.mhz else "" for _, each in states],
        "°C": ["" if each.temperature_c is None else f"{each.temperature_c:.0f}" for _, each in states],
        "W": ["" if each.watts is None else f"{each.watts:.1f}" for _, each in states],
        "limits": [clean(", ".join(each.throttle)) for _, each in states],
    }
    kept = {name: texts for name, texts in columns.items() if any(texts)}
    return [list(kept), *map(list, zip(*kept.values(), strict=True))]


def _figure(value: float | None) -> str:
    return "" if value is None else figure(value)
