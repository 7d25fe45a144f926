"""The table of speed and memory that a person reads at the end of a sweep, and pastes.

Plain Markdown with aligned columns, so that it reads well on a terminal and renders well in a document.
"""

from collections.abc import Mapping, Sequence

from profiler.analysis.stats import INTERVAL_ROUNDS
from profiler.records.cell_summary import CellSummary, message_key
from profiler.records.environment import Environment
from profiler.tables.format import (
    SETTINGS,
    aligned,
    clean,
    device_line,
    figure_with_range,
    joules,
    level_names,
    listed,
    load_in_words,
    setting,
    synthetic_note,
    thread_counts,
    threads_in_words,
)
from profiler.tables.sustained import steady_in_words
from quant.base.text import counted_range
from quant.base.units import format_bytes, format_params

_MOST_NAMES = 5  # in a sentence


def render(
    summaries: Sequence[CellSummary],
    environments: Mapping[str, Environment],
    messages: Mapping[str, str] | None = None,
    *,
    with_rounds: bool = True,
) -> str:
    """Write one table per environment, model and workload, with what is needed to read it.

    Where the text around the tables names the device or the rounds, omit the `environments`, or the rounds.
    """
    blocks = []
    names = level_names(cell.artifact for cell in summaries)
    for group in _groups(summaries):
        first, fastest = group[0], _fastest(group)
        caption = _caption(group, environments.get(first.env_id), with_rounds)
        blocks += [f"## {_title(first)}", "", *([*caption, ""] if caption else [])]
        blocks += [*aligned(_rows(group, fastest, names)), ""]
        blocks += [*(f"- {note}" for note in _notes(group, fastest, names, messages or {})), ""]
    return "\n".join(blocks).rstrip() + "\n" if blocks else "no cells are measured yet\n"


def _groups(summaries: Sequence[CellSummary]) -> list[list[CellSummary]]:
    groups: dict[tuple[object, ...], list[CellSummary]] = {}
    for cell in summaries:
        groups.setdefault((cell.env_id, cell.artifact.model, cell.config.load, cell.config.device), []).append(cell)
    return list(groups.values())


def _title(cell: CellSummary) -> str:
    file, config = cell.artifact, cell.config
    synthetic = synthetic_note(file.weights, file.standin_for)
    if file.standin_family is not None:
        synthetic = f", STAND-IN of {clean(file.arch)} for {clean(file.standin_family)}{synthetic}"
    size = f"{format_params(file.n_params, file.n_params_active)}{synthetic}"
    return f"{clean(file.model)} ({size}), {clean(config.workload)}: {load_in_words(config)}"


def _caption(group: Sequence[CellSummary], environment: Environment | None, with_rounds: bool) -> list[str]:
    lines = []
    if environment is not None:
        lines.append(device_line(environment, group[0].backend))
    measured = [cell for cell in group if cell.rounds]
    if measured and with_rounds:
        if group[0].config.sustain_s:
            rounds = counted_range([cell.rounds for cell in measured], "minute")
            lines.append(f"medians over {rounds} of steady state [{_brackets(measured)}]")
        else:
            rounds = counted_range([cell.rounds for cell in measured], "round")
            reps = counted_range([cell.reps for cell in measured], "repetition")
            lines.append(f"medians over {rounds} of {reps} [{_brackets(measured)}]")
    if target := _target(group):
        lines.append(target)
    return lines


def _brackets(measured: Sequence[CellSummary]) -> str:
    """Return what the brackets behind a figure hold."""
    noun = "minute" if measured[0].config.sustain_s else "round"
    with_interval = {cell.rounds >= INTERVAL_ROUNDS for cell in measured}
    if with_interval == {True}:
        return "95 % interval; overlapping intervals are a tie"
    if with_interval == {False}:
        return f"smallest and largest {noun}, since an interval needs six {noun}s"
    return "95 % interval, or smallest and largest under six rounds; overlapping ranges are a tie"


def _target(group: Sequence[CellSummary]) -> str | None:
    """Return the stopping rule's targets, and how many cells did not reach theirs."""
    ruled = [cell for cell in group if cell.target is not None]
    if not ruled:
        return None
    targets = sorted({cell.target for cell in ruled if cell.target is not None})
    words = f"measured until within ±{' or ±'.join(f'{target * 100:g} %' for target in targets)} of the median"
    if missed := sum(not _reached(cell) for cell in ruled):
        words += f", which {missed} of {len(ruled)} cells did not reach"
    return f"{words}; the intervals are widened for such a stop"


def _reached(cell: CellSummary) -> bool:
    return all(
        span.kind == "interval" and (span.hi - span.lo) / 2 <= (cell.target or 0) * span.value
        for span in (cell.prefill_tps, cell.decode_tps)
        if span is not None
    )


def _rows(group: Sequence[CellSummary], fastest: Sequence[CellSummary], names: Mapping[str, str]) -> list[list[str]]:
    ties = {cell.cell_key for cell in fastest}
    # A setting in which the cells differ gets a column, so that no two rows look alike.
    settings = [name for name in SETTINGS if len({getattr(cell.config, name) for cell in group}) > 1]
    columns: dict[str, list[str]] = {
        "level": [names[cell.artifact.sha256] for cell in group],
        "bpw": [f"{cell.artifact.bpw:.2f}" for cell in group],
        "file": [format_bytes(cell.artifact.file_bytes) for cell in group],
        "threads": [thread_counts(cell.config) for cell in group],
        **{SETTINGS[name]: [setting(getattr(cell.config, name)) for cell in group] for name in settings},
        "prefill t/s": [figure_with_range(cell.prefill_tps) for cell in group],
        "decode t/s": [figure_with_range(cell.decode_tps) + (" *" if cell.cell_key in ties else "") for cell in group],
    }
    optional = {
        "bandwidth": ["" if cell.mbu is None else f"{cell.mbu:.0%}" for cell in group],
        "J/token": [joules(cell.energy.joules_per_token) for cell in group],
        "J/request": [joules(cell.energy.joules_per_request) for cell in group],
        "TTFT ms": [figure_with_range(cell.ttft_ms) for cell in group],
    }
    columns |= {name: texts for name, texts in optional.items() if any(texts)}
    columns |= {
        "ITL p95 ms": ["" if cell.token_gaps is None else f"{cell.token_gaps.p95_ms:.1f}" for cell in group],
        "memory": ["" if cell.model_rss_bytes is None else format_bytes(cell.model_rss_bytes.value) for cell in group],
        "flags": [", ".join(cell.flags) if cell.status == "ok" else cell.status.upper() for cell in group],
    }
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def _fastest(group: Sequence[CellSummary]) -> list[CellSummary]:
    """Return the cell with the fastest decode and every cell that ties with it; none where there is no other."""
    ranked = [(cell, cell.decode_tps) for cell in group if cell.status == "ok" and cell.decode_tps is not None]
    if len(ranked) < 2:
        return []
    top = max((span for _, span in ranked), key=lambda span: span.value)
    return [cell for cell, span in ranked if span.hi >= top.lo]


def _notes(
    group: Sequence[CellSummary], fastest: Sequence[CellSummary], names: Mapping[str, str], messages: Mapping[str, str]
) -> list[str]:
    memory = "memory: peak resident size without the process before the model was opened."
    return [
        f"\\* {_ranking(fastest, names)}. {memory}" if fastest else memory,
        *_notes_of_columns(group),
        *(f"{_name(cell, names)}: {steady_in_words(cell)}." for cell in group if cell.sustained),
        *(note for cell in group for note in _problems(cell, names)),
        *(note for cell in group for note in _flags(cell, names, messages)),
        *(note for cell in group for note in _disturbed_rounds(cell, names)),
        *(note for cell in group for note in _outliers(cell, names)),
    ]


def _name(cell: CellSummary, names: Mapping[str, str]) -> str:
    return f"{names[cell.artifact.sha256]}, {threads_in_words(cell.config)}"


def _notes_of_columns(group: Sequence[CellSummary]) -> list[str]:
    notes = []
    if any(cell.mbu is not None for cell in group):
        notes.append(
            "bandwidth: MBU of decode, as a share of the read bandwidth at that thread count or the next above."
        )
    if sources := list(dict.fromkeys(cell.energy.source for cell in group if cell.energy.source)):
        request = "; J/request: of prefill and decode" if any(cell.energy.joules_per_request for cell in group) else ""
        listed_sources = "; ".join(map(clean, sources))
        notes.append(f"J/token: energy of decode{request}, idle power included; source: {listed_sources}.")
        if reasons := list(dict.fromkeys(cell.energy.reason for cell in group if cell.energy.reason)):
            notes.append(f"no J/token: {'; '.join(map(clean, reasons))}.")
    return notes


def _ranking(fastest: Sequence[CellSummary], names: Mapping[str, str]) -> str:
    """Return which decode is the fastest, or which cells may be: those whose ranges overlap with the fastest's."""
    few = any(cell.decode_tps is not None and cell.decode_tps.kind == "min-max" for cell in fastest)
    if len(fastest) == 1:
        return "fastest decode" + (", as far as so few rounds show" if few else "")
    cells = listed(
        [f"{names[cell.artifact.sha256]} with {threads_in_words(cell.config)}" for cell in fastest], _MOST_NAMES
    )
    what = "range of smallest to largest" if few else "interval"
    return f"fastest decode, a tie of {cells}: each {what} overlaps with that of the highest median"


def _problems(cell: CellSummary, names: Mapping[str, str]) -> list[str]:
    if cell.status == "ok":
        return []
    name = f"{names[cell.artifact.sha256]} with {threads_in_words(cell.config)}"
    return [f"{name} {cell.status}: {clean(cell.error or '?')}"]


def _flags(cell: CellSummary, names: Mapping[str, str], messages: Mapping[str, str]) -> list[str]:
    name = _name(cell, names)
    known = [(flag, messages.get(message_key(cell, flag))) for flag in cell.flags]
    return [f"{flag} ({name}): {clean(message)}" for flag, message in known if message]


def _disturbed_rounds(cell: CellSummary, names: Mapping[str, str]) -> list[str]:
    return [f"{_name(cell, names)}: {clean(note)}" for note in cell.notes]


def _outliers(cell: CellSummary, names: Mapping[str, str]) -> list[str]:
    """Name the rounds beyond Tukey's fences, counted from 1 as in the progress."""
    parts, noun = [], "minute" if cell.config.sustain_s else "round"
    for name, numbers in (("prefill", cell.prefill_outliers), ("decode", cell.decode_outliers)):
        if numbers:
            rounds = ", ".join(str(number + 1) for number in numbers)
            parts.append(f"{name} of {noun}{'' if len(numbers) == 1 else 's'} {rounds}")
    if not parts:
        return []
    found = " and ".join(parts)
    return [f"outliers ({_name(cell, names)}): {found} beyond Tukey's fences; kept, the median is robust to outliers"]
