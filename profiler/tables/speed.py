"""The table that a person reads at the end of a sweep, and pastes.

Plain Markdown with aligned columns, so that it reads well on a terminal and renders well in a document.
"""

import re
from collections.abc import Mapping, Sequence

from profiler.records.cell_summary import CellSummary, message_key
from profiler.records.environment import Environment
from profiler.records.span import Span
from quant.base.text import printable
from quant.base.units import format_bytes, format_params

_INTERVAL_ROUNDS = 6
_MOST_NAMES = 5  # in a sentence
# A setting in which the cells of one table differ gets a column, so that no two rows look alike.
_SETTINGS = {
    "n_ctx": "context",
    "n_batch": "batch",
    "n_ubatch": "ubatch",
    "n_outputs_max": "outputs",
    "type_k": "K",
    "type_v": "V",
    "flash_attn": "fa",
    "load_mode": "load",
    "repack": "repack",
    "cores": "cores",
    "n_gpu_layers": "GPU layers",
}


def clean(text: str) -> str:
    """Make a stranger's text safe for a terminal and a Markdown cell: no control characters, no bars, no markup."""
    return re.sub(r"([\\|`<>*\[\]])", r"\\\1", printable(text)).strip()


def render(
    summaries: Sequence[CellSummary], environments: Mapping[str, Environment], messages: Mapping[str, str] | None = None
) -> str:
    """Give one table per environment, model and workload, with what is needed to read it."""
    blocks = []
    for group in _groups(summaries):
        first = group[0]
        blocks += [f"## {_title(first)}", "", *_caption(group, environments.get(first.env_id)), ""]
        blocks += [*aligned(_rows(group)), "", *_notes(group, messages or {})]
        if blocks[-1] != "":
            blocks.append("")
    return "\n".join(blocks).rstrip() + "\n" if blocks else "no cells are measured yet\n"


def _groups(summaries: Sequence[CellSummary]) -> list[list[CellSummary]]:
    groups: dict[tuple[object, ...], list[CellSummary]] = {}
    for cell in summaries:
        key = (
            cell.env_id,
            cell.artifact.model,
            cell.config.workload,
            cell.config.mode,
            cell.config.n_prompt,
            cell.config.n_gen,
            cell.config.n_depth,
            cell.config.device,
        )
        groups.setdefault(key, []).append(cell)
    return list(groups.values())


def _title(cell: CellSummary) -> str:
    file, config = cell.artifact, cell.config
    load = {
        "separate": f"prefill of {config.n_prompt} and decode of {config.n_gen} tokens, each at depth {config.n_depth}",
        "request": f"{config.n_prompt} tokens in, {config.n_gen} out, decode at depth {config.decode_depth}",
    }[config.mode]
    synthetic = ""
    if file.weights != "real":
        synthetic = f", SYNTHETIC weights in the shape of {clean(file.standin_for or '?')}"
    if file.standin_family is not None:
        synthetic = f", STAND-IN of {clean(file.arch)} for {clean(file.standin_family)}{synthetic}"
    return f"{clean(file.model)} ({format_params(file.n_params)}{synthetic}), {clean(config.workload)}: {load}"


def _caption(group: Sequence[CellSummary], environment: Environment | None) -> list[str]:
    lines = []
    if environment is not None:
        lines.append(device_line(environment, group[0].backend))
    rounds = _range([cell.rounds for cell in group if cell.rounds])
    reps = _range([cell.reps for cell in group if cell.rounds])
    if rounds:
        few = {cell.rounds < _INTERVAL_ROUNDS for cell in group if cell.rounds}
        brackets = {
            (True,): "smallest and largest, since an interval needs six rounds",
            (False,): "95 % interval; overlapping intervals are a tie",
            (False, True): "95 % interval, or smallest and largest under six rounds; what overlaps is a tie",
        }[tuple(sorted(few))]
        lines.append(
            f"medians over {rounds} round{'' if rounds == '1' else 's'} of {reps} "
            f"repetition{'' if reps == '1' else 's'} [{brackets}]"
        )
    if rule := _rule(group):
        lines.append(rule)
    return lines


def _rule(group: Sequence[CellSummary]) -> str | None:
    """Tell under which target the rounds were counted, and how many cells did not reach it."""
    ruled = [cell for cell in group if cell.target is not None]
    if not ruled:
        return None
    targets = sorted({cell.target for cell in ruled if cell.target is not None})
    missed = sum(not _reached(cell) for cell in ruled)
    words = f"measured until within ±{' or ±'.join(f'{target * 100:g} %' for target in targets)} of the median"
    if missed:
        words += f", which {missed} of {len(ruled)} cells did not reach"
    return f"{words}; the intervals are wide enough for such a stop"


def _reached(cell: CellSummary) -> bool:
    return all(
        span.kind == "interval" and (span.hi - span.lo) / 2 <= (cell.target or 0) * span.value
        for span in (cell.prefill_tps, cell.decode_tps)
        if span is not None
    )


def device_line(environment: Environment, backend: str | None = None) -> str:
    """Name the device and its build in a line."""
    board = f"{clean(environment.board)}, " if environment.board else ""
    return (
        f"{board}{clean(environment.cpu_model)}, {environment.cores_physical} cores, "
        f"{format_bytes(environment.memory_bytes)}; llama.cpp {clean(environment.llama_commit)}, "
        f"{clean(environment.threading)} threads, {clean(backend or '+'.join(environment.backends))}"
    )


def _range(values: Sequence[int]) -> str:
    if not values:
        return ""
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _rows(group: Sequence[CellSummary]) -> list[list[str]]:
    with_ttft = any(cell.ttft_ms is not None for cell in group)
    with_share = any(cell.mbu is not None for cell in group)
    with_energy = any(cell.energy.joules_per_token is not None for cell in group)
    settings = [name for name in _SETTINGS if len({getattr(cell.config, name) for cell in group}) > 1]
    head = ["level", "bpw", "file", "threads", *[_SETTINGS[name] for name in settings], "prefill t/s", "decode t/s"]
    head += ["bandwidth"] if with_share else []
    head += ["J/token"] if with_energy else []
    head += ["TTFT ms"] if with_ttft else []
    head += ["ITL p95 ms", "memory", "flags"]
    rows = [head]
    best = _best(group)
    for cell in group:
        threads = str(cell.config.n_threads)
        if cell.config.n_threads_batch != cell.config.n_threads:
            threads += f" / {cell.config.n_threads_batch}"
        row = [clean(cell.artifact.level), f"{cell.artifact.bpw:.2f}", format_bytes(cell.artifact.file_bytes), threads]
        row += [_setting(getattr(cell.config, name)) for name in settings]
        row.append(_figure(cell.prefill_tps))
        row.append(_figure(cell.decode_tps) + (" *" if cell.cell_key in best else ""))
        if with_share:
            row.append("" if cell.mbu is None else f"{cell.mbu:.0%}")
        if with_energy:
            row.append("" if cell.energy.joules_per_token is None else f"{cell.energy.joules_per_token:.3g}")
        if with_ttft:
            row.append(_figure(cell.ttft_ms))
        row.append("" if cell.token_gaps is None else f"{cell.token_gaps.p95_ms:.1f}")
        row.append("" if cell.model_rss_bytes is None else format_bytes(cell.model_rss_bytes.value))
        row.append(", ".join(cell.flags) if cell.status == "ok" else cell.status.upper())
        rows.append(row)
    return rows


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "any" if value is None else clean(str(value))


def _best(group: Sequence[CellSummary]) -> set[str]:
    """Give the fastest decode and every cell that its interval does not tell apart from it."""
    ranked = {cell.cell_key: cell.decode_tps for cell in group if cell.status == "ok" and cell.decode_tps is not None}
    if len(ranked) < 2:
        return set()
    top = max(ranked.values(), key=lambda span: span.value)
    return {key for key, span in ranked.items() if span.hi >= top.lo}


def _figure(span: Span | None) -> str:
    if span is None:
        return ""
    digits = 0 if span.value >= 1000 else 1 if span.value >= 10 else 2
    return f"{span.value:.{digits}f} [{span.lo:.{digits}f}, {span.hi:.{digits}f}]"


def aligned(rows: Sequence[Sequence[str]], *, last_left: bool = True) -> list[str]:
    """Write rows as Markdown columns, a rule under the first row; only the first and the last column hold words."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {0, len(widths) - 1} if last_left else {0}

    def line(row: Sequence[str]) -> str:
        cells = [
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * width if column in left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return [line(rows[0]), "|" + "|".join(f" {each} " for each in rule) + "|", *[line(row) for row in rows[1:]]]


def _notes(group: Sequence[CellSummary], messages: Mapping[str, str]) -> list[str]:
    notes = []
    memory = "memory: peak resident size less the process before the model was opened."
    notes.append(f"\\* {_ranking(group)}. {memory}" if _best(group) else memory)
    if any(cell.mbu is not None for cell in group):
        notes.append(
            "bandwidth: the share of the read bandwidth, measured at that thread count or the next above, that decode "
            "used."
        )
    if sources := list(dict.fromkeys(cell.energy.source for cell in group if cell.energy.source)):
        notes.append(f"J/token: of decode, idle power included; source: {'; '.join(map(clean, sources))}.")
        if reasons := list(dict.fromkeys(cell.energy.reason for cell in group if cell.energy.reason)):
            notes.append(f"no J/token: {'; '.join(map(clean, reasons))}.")
    for cell in group:
        if cell.status != "ok":
            notes.append(
                f"{clean(cell.artifact.level)} with {_threads(cell)} {cell.status}: {clean(cell.error or '?')}"
            )
    for cell in group:
        for flag in cell.flags:
            message = messages.get(message_key(cell, flag))
            if message:
                notes.append(f"{flag} ({clean(cell.artifact.level)}, {_threads(cell)}): {clean(message)}")
    for cell in group:
        if far := _outliers(cell):
            notes.append(
                f"outliers ({clean(cell.artifact.level)}, {_threads(cell)}): {far}; kept, since the median bears them"
            )
    return ["\n".join(f"- {note}" for note in notes), ""]


def _ranking(group: Sequence[CellSummary]) -> str:
    """Say which decode is the fastest, or which cells may all be: those whose intervals overlap with the fastest's."""
    best = [cell for cell in group if cell.cell_key in _best(group)]
    without = any(cell.decode_tps is not None and cell.decode_tps.kind == "min-max" for cell in best)
    if len(best) == 1:
        return "fastest decode" + (", as far as a few rounds tell" if without else "")
    names = [f"{clean(cell.artifact.level)} with {_threads(cell)}" for cell in best]
    if len(names) > _MOST_NAMES:
        names = [*names[: _MOST_NAMES - 1], f"{len(names) - _MOST_NAMES + 1} more"]
    what = "range of smallest to largest" if without else "interval"
    told = f"each {what} overlaps with that of the highest median, so nothing tells which is the fastest"
    return f"fastest decode, a tie of {', '.join(names[:-1])} and {names[-1]}: {told}"


def _outliers(cell: CellSummary) -> str:
    """Name the rounds beyond Tukey's fences, counted from 1 as in the progress."""
    parts = []
    for name, numbers in (("prefill", cell.prefill_outliers), ("decode", cell.decode_outliers)):
        if numbers:
            rounds = ", ".join(str(number + 1) for number in numbers)
            parts.append(f"{name} of round{'' if len(numbers) == 1 else 's'} {rounds}")
    return f"{' and '.join(parts)} beyond Tukey's fences" if parts else ""


def _threads(cell: CellSummary) -> str:
    if cell.config.n_threads_batch != cell.config.n_threads:
        return f"{cell.config.n_threads} / {cell.config.n_threads_batch} threads"
    return f"{cell.config.n_threads} thread{'' if cell.config.n_threads == 1 else 's'}"
