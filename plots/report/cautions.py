"""Warnings by name: how many cells each concerns, what happened in some of them, and the command that fixes it."""

from collections.abc import Mapping, Sequence

import msgspec

from plots.report.rerun import rerun_commands
from profiler.analysis.flags import FLAGS
from profiler.records.cell_summary import CellSummary, message_key
from profiler.records.environment import Environment
from profiler.results.file import Results
from profiler.tables.format import load_name, thread_counts

_EXAMPLES = 6
_AGAIN = "again.jsonl"


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One cell and what happened to it."""

    cell: str
    message: str


class Caution(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of disturbance over all cells."""

    name: str
    n_cells: int
    examples: list[Example]
    fix: str  # what to do first
    command: str | None  # then to run


_FIXES = {
    "throttled": "Cool the device or use a stronger power supply, and pause between rounds:",
    "drifting": "Let the device cool down, stop other programs, and pause between rounds:",
    "swapping": "Close programs, or make the KV cache smaller with --n-ctx:",
    "noisy": "Close programs, and measure more rounds:",
    "busy": "Find the programs that run (top), close them, and re-measure:",
    "paging": "Close programs, use a smaller level, or lock the weights in memory:",
    "oversubscribed": "Use no more threads than there are cores:",
    "starved": "Remove what held the threads back (the message names it), and re-measure:",
    "ignored": "Remove the reason that the message names, or measure without the setting:",
    "failed": "Read the error; a cell that needs less memory may work. The same command retries failed cells:",
    "skipped": "The reason is in each message; --force also runs cells predicted not to fit in memory:",
}


def cautions(results: Results, summaries: Sequence[CellSummary], messages: Mapping[str, str]) -> list[Caution]:
    """Collect what was flagged, failed and skipped, the failed cells first; `messages` by message_key."""
    concerned: dict[str, list[CellSummary]] = {}
    for cell in summaries:
        for name in (*([cell.status] if cell.status != "ok" else []), *cell.flags):
            concerned.setdefault(name, []).append(cell)
    if not concerned:
        return []
    order = ["failed", "skipped", *FLAGS, *sorted(set(concerned) - {"failed", "skipped", *FLAGS})]
    return [_caution(name, concerned[name], messages, results) for name in order if name in concerned]


def _caution(
    name: str,
    cells: Sequence[CellSummary],
    messages: Mapping[str, str],
    results: Results,
) -> Caution:
    examples = []
    for cell in cells[:_EXAMPLES]:
        message = cell.error or "no reason recorded"
        if name in cell.flags:
            message = messages.get(message_key(cell, name), name)
        examples.append(Example(cell=name_of(cell), message=message))
    again = {(cell.cell_key, cell.env_id) for cell in cells}
    extra = _extra(name, cells, results.environments)
    commands = rerun_commands(results, cells, again, output=_AGAIN, extra=extra)
    return Caution(
        name=name,
        n_cells=len(cells),
        examples=examples,
        fix=_FIXES.get(name, "Re-measure these cells:"),
        command=commands[0] if commands else None,
    )


def _extra(name: str, cells: Sequence[CellSummary], environments: Mapping[str, Environment]) -> list[str]:
    """Return the options that fix a disturbance."""
    if name in ("throttled", "drifting"):
        return ["--cooldown", "30s"]
    if name == "noisy":
        return ["--rounds", str(2 * max(6, *(cell.rounds for cell in cells)))]
    if name == "paging":
        return ["--load-mode", "mlock"]
    if name == "skipped":
        return ["--force"]
    if name == "oversubscribed":
        known = [environments[cell.env_id].cores_physical for cell in cells if cell.env_id in environments]
        return ["-t", str(max(1, min(known, default=1)))]
    return []


def name_of(cell: CellSummary) -> str:
    """Return a cell's name in a few words."""
    threads = thread_counts(cell.config, "/")
    noun = "thread" if threads == "1" else "threads"
    return f"{cell.artifact.model} {cell.artifact.level}, {threads} {noun}, {load_name(cell.config)}"
