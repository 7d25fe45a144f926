"""The table that a person reads at the end of a sweep, and pastes.

Plain Markdown with aligned columns, so that it reads well on a terminal and renders well in a document.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from profiler.record import Environment
from profiler.summary import CellSummary
from quant.units import format_bytes, format_params

_INTERVAL_ROUNDS = 6
# A setting in which the cells of one table differ gets a column, so that no two rows look alike.
_SETTINGS = {
    "n_ctx": "context",
    "n_batch": "batch",
    "n_ubatch": "ubatch",
    "type_k": "K",
    "type_v": "V",
    "flash_attn_asked": "fa",
    "load_mode": "load",
    "repack": "repack",
    "cores": "cores",
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
        blocks += [*_aligned(_rows(group)), "", *_notes(group, messages or {})]
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
        board = f"{clean(environment.board)}, " if environment.board else ""
        lines.append(
            f"{board}{clean(environment.cpu_model)}, {environment.cores_physical} cores, "
            f"{format_bytes(environment.memory_bytes)}; llama.cpp {clean(environment.llama_commit)}, "
            f"{clean(environment.threading)} threads, {clean(group[0].backend or '+'.join(environment.backends))}"
        )
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
    return lines


def _range(values: Sequence[int]) -> str:
    if not values:
        return ""
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _rows(group: Sequence[CellSummary]) -> list[list[str]]:
    with_ttft = any(cell.ttft_ms is not None for cell in group)
    settings = [name for name in _SETTINGS if len({getattr(cell, name) for cell in group}) > 1]
    head = ["level", "bpw", "file", "threads", *[_SETTINGS[name] for name in settings], "prefill t/s", "decode t/s"]
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


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {0, len(widths) - 1}

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
    if best := _best(group):
        tie = ", a tie" if len(best) > 1 else ""
        notes.append(
            f"\\* fastest decode{tie}. memory: peak resident size less the process before the model was opened."
        )
    else:
        notes.append("memory: peak resident size less the process before the model was opened.")
    for cell in group:
        if cell.status != "ok":
            notes.append(f"{clean(cell.quant)} with {_threads(cell)} {cell.status}: {clean(cell.error or '?')}")
    for cell in group:
        for flag in cell.flags:
            message = messages.get(f"{cell.cell_key}:{cell.env_id}:{flag}")
            if message:
                notes.append(f"{flag} ({clean(cell.quant)}, {_threads(cell)}): {clean(message)}")
    return ["\n".join(f"- {note}" for note in notes), ""]


def _threads(cell: CellSummary) -> str:
    return f"{cell.n_threads} thread{'' if cell.n_threads == 1 else 's'}"
