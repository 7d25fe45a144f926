"""Warnings by name: how many cells each concerns, what happened in some of them, and the command that mends it."""

from collections.abc import Mapping, Sequence

import msgspec

from plots.report.rerun import rerun_commands
from profiler.checks import FLAGS, flags_of
from profiler.record import Environment, Round
from profiler.results import Results
from profiler.summary import CellSummary

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
    mend: str  # what to do before
    command: str | None  # what to type then


_MEND = {
    "throttled": "Cool the device or use a stronger power supply, and rest between rounds:",
    "drifting": "Let the device cool down and nothing else run, and rest between rounds:",
    "swapping": "Close programs, or give the KV cache less room with --n-ctx:",
    "noisy": "Close programs, and take more rounds:",
    "busy": "See which programs run (top), close them, and measure again:",
    "paging": "Close programs, take a smaller level, or hold the weights in memory:",
    "oversubscribed": "Take no more threads than there are cores:",
    "failed": "Read the error; what needs less memory may go. The same command again tries failed cells:",
    "skipped": "Each says why; --force measures what needs more memory than there is:",
}


def cautions(results: Results, summaries: Sequence[CellSummary]) -> list[Caution]:
    """Collect what was flagged, failed and skipped, the failed cells first."""
    concerned: dict[str, list[CellSummary]] = {}
    for cell in summaries:
        for name in (*([cell.status] if cell.status != "ok" else []), *cell.flags):
            concerned.setdefault(name, []).append(cell)
    if not concerned:
        return []
    rounds = _rounds_of(results, {(cell.cell_key, cell.env_id) for cells in concerned.values() for cell in cells})
    order = ["failed", "skipped", *FLAGS, *sorted(set(concerned) - {"failed", "skipped", *FLAGS})]
    return [_caution(name, concerned[name], rounds, results) for name in order if name in concerned]


def _rounds_of(results: Results, keys: set[tuple[str, str]]) -> dict[tuple[str, str], list[Round]]:
    found: dict[tuple[str, str], list[Round]] = {}
    for record in results.rounds:
        key = (record.cell.key, record.env_id)
        if key in keys:
            found.setdefault(key, []).append(record)
    return found


def _caution(
    name: str,
    cells: Sequence[CellSummary],
    rounds: Mapping[tuple[str, str], Sequence[Round]],
    results: Results,
) -> Caution:
    examples = []
    for cell in cells[:_EXAMPLES]:
        message = cell.error or "no reason is told"
        if name in cell.flags:
            ok = [record for record in rounds.get((cell.cell_key, cell.env_id), ()) if record.status == "ok"]
            found = flags_of(ok, results.environments.get(cell.env_id))
            message = next((warning.message for warning in found if warning.name == name), name)
        examples.append(Example(cell=name_of(cell), message=message))
    again = [record for cell in cells for record in rounds.get((cell.cell_key, cell.env_id), ())]
    extra = _extra(name, cells, results.environments)
    commands = rerun_commands(results, again, output=_AGAIN, extra=extra)
    return Caution(
        name=name,
        n_cells=len(cells),
        examples=examples,
        mend=_MEND.get(name, "Measure these cells again:"),
        command=commands[0] if commands else None,
    )


def _extra(name: str, cells: Sequence[CellSummary], environments: Mapping[str, Environment]) -> list[str]:
    """Give the options that mend a disturbance."""
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
    """Name a cell in a few words."""
    threads = f"{cell.n_threads}" + (f"/{cell.n_threads_batch}" if cell.n_threads_batch != cell.n_threads else "")
    load = cell.workload if cell.workload != "custom" else f"p{cell.n_prompt} n{cell.n_gen} d{cell.n_depth}"
    return f"{cell.model} {cell.quant}, {threads} thread{'' if threads == '1' else 's'}, {load}"
