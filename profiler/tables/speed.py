"""The table that a person reads at the end of a sweep, and pastes.

Plain Markdown with aligned columns, so that it reads well on a terminal and renders well in a document.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from profiler.records.cell_summary import CellSummary, message_key
from profiler.records.record import Environment
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
    "flash_attn_asked": "fa",
    "load_mode": "load",
    "repack": "repack",
    "cores": "cores",
    "n_gpu_layers": "GPU layers",
}


# Control, format, surrogate, private and unassigned letters, and those that end a line or a paragraph.
_NO_TEXT = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def clean(text: str) -> str:
    """Make a stranger's text safe for a terminal and a Markdown cell: no control characters, no bars, no markup."""
    shown = "".join(" " if unicodedata.category(letter) in _NO_TEXT else letter for letter in text)
    return re.sub(r"([\\|`<>*\[\]])", r"\\\1", shown).strip()


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
        key = (cell.env_id, cell.model, cell.workload, cell.mode, cell.n_prompt, cell.n_gen, cell.n_depth, cell.device)
        groups.setdefault(key, []).append(cell)
    return list(groups.values())


def _title(cell: CellSummary) -> str:
    load = {
        "separate": f"prefill of {cell.n_prompt} and decode of {cell.n_gen} tokens, each at depth {cell.n_depth}",
        "request": f"{cell.n_prompt} tokens in, {cell.n_gen} out, decode at depth {cell.decode_depth}",
    }[cell.mode]
    made_up = ""
    if cell.weights != "real":
        made_up = f", SYNTHETIC weights in the shape of {clean(cell.standin_for or '?')}"
    if cell.standin_family is not None:
        made_up = f", STAND-IN of {clean(cell.arch)} for {clean(cell.standin_family)}{made_up}"
    return f"{clean(cell.model)} ({format_params(cell.n_params)}{made_up}), {clean(cell.workload)}: {load}"


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
    for name in ("prefill_tps", "decode_tps"):
        middle, lo, hi = (getattr(cell, f"{name}{end}") for end in ("", "_lo", "_hi"))
        if middle is not None and (lo is None or (hi - lo) / 2 > (cell.target or 0) * middle):
            return False
    return True


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
    with_share = any(cell.utilisation is not None for cell in group)
    with_energy = any(cell.joules_per_token is not None for cell in group)
    settings = [name for name in _SETTINGS if len({getattr(cell, name) for cell in group}) > 1]
    head = ["level", "bpw", "file", "threads", *[_SETTINGS[name] for name in settings], "prefill t/s", "decode t/s"]
    head += ["bandwidth"] if with_share else []
    head += ["J/token"] if with_energy else []
    head += ["TTFT ms"] if with_ttft else []
    head += ["ITL p95 ms", "memory", "flags"]
    rows = [head]
    best = _best(group)
    for cell in group:
        threads = str(cell.n_threads)
        if cell.n_threads_batch != cell.n_threads:
            threads += f" / {cell.n_threads_batch}"
        row = [clean(cell.quant), f"{cell.bpw:.2f}", format_bytes(cell.file_bytes), threads]
        row += [_setting(getattr(cell, name)) for name in settings]
        row.append(_figure(cell, "prefill_tps"))
        row.append(_figure(cell, "decode_tps") + (" *" if cell.cell_key in best else ""))
        if with_share:
            row.append("" if cell.utilisation is None else f"{cell.utilisation:.0%}")
        if with_energy:
            row.append("" if cell.joules_per_token is None else f"{cell.joules_per_token:.3g}")
        if with_ttft:
            row.append(_figure(cell, "ttft_ms"))
        row.append("" if cell.itl_p95_ms is None else f"{cell.itl_p95_ms:.1f}")
        row.append("" if cell.model_rss_bytes is None else format_bytes(cell.model_rss_bytes))
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
    ranked = [cell for cell in group if cell.status == "ok" and cell.decode_tps is not None]
    if len(ranked) < 2:
        return set()
    top = max(ranked, key=lambda cell: cell.decode_tps or 0)
    floor = top.decode_tps_lo if top.decode_tps_lo is not None else top.decode_tps_min
    assert floor is not None
    return {cell.cell_key for cell in ranked if _upper(cell) >= floor}


def _upper(cell: CellSummary) -> float:
    upper = cell.decode_tps_hi if cell.decode_tps_hi is not None else cell.decode_tps_max
    assert upper is not None
    return upper


def _figure(cell: CellSummary, name: str) -> str:
    middle = getattr(cell, name)
    if middle is None:
        return ""
    lo, hi = getattr(cell, f"{name}_lo"), getattr(cell, f"{name}_hi")
    if lo is None:
        lo, hi = getattr(cell, f"{name}_min"), getattr(cell, f"{name}_max")
    digits = 0 if middle >= 1000 else 1 if middle >= 10 else 2
    return f"{middle:.{digits}f} [{lo:.{digits}f}, {hi:.{digits}f}]"


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
    if any(cell.utilisation is not None for cell in group):
        notes.append(
            "bandwidth: the share of the read bandwidth, measured at that thread count or the next above, that decode "
            "used."
        )
    if sources := list(dict.fromkeys(cell.energy_source for cell in group if cell.energy_source)):
        notes.append(f"J/token: of decode, idle power included; source: {'; '.join(map(clean, sources))}.")
        if reasons := list(dict.fromkeys(cell.energy_reason for cell in group if cell.energy_reason)):
            notes.append(f"no J/token: {'; '.join(map(clean, reasons))}.")
    for cell in group:
        if cell.status != "ok":
            notes.append(f"{clean(cell.quant)} with {_threads(cell)} {cell.status}: {clean(cell.error or '?')}")
    for cell in group:
        for flag in cell.flags:
            message = messages.get(message_key(cell, flag))
            if message:
                notes.append(f"{flag} ({clean(cell.quant)}, {_threads(cell)}): {clean(message)}")
    for cell in group:
        if far := _outliers(cell):
            notes.append(f"outliers ({clean(cell.quant)}, {_threads(cell)}): {far}; kept, since the median bears them")
    return ["\n".join(f"- {note}" for note in notes), ""]


def _ranking(group: Sequence[CellSummary]) -> str:
    """Say which decode is the fastest, or which cells may all be: those whose intervals overlap with the fastest's."""
    best = [cell for cell in group if cell.cell_key in _best(group)]
    without = any(cell.decode_tps_lo is None for cell in best)
    if len(best) == 1:
        return "fastest decode" + (", as far as a few rounds tell" if without else "")
    names = [f"{clean(cell.quant)} with {_threads(cell)}" for cell in best]
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
    if cell.n_threads_batch != cell.n_threads:
        return f"{cell.n_threads} / {cell.n_threads_batch} threads"
    return f"{cell.n_threads} thread{'' if cell.n_threads == 1 else 's'}"
