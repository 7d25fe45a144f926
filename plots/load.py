"""What belongs into one chart: cells that may be compared, and nothing else."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from profiler.summary import CellSummary


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """Cells of one environment, one load and one setting; files and threads vary."""

    env_id: str
    load: str  # for file names: "bench", "chat", "p512-n128-d0"
    cells: list[CellSummary]
    n_failed: int
    n_skipped: int


def panels(summaries: Sequence[CellSummary]) -> list[Panel]:
    """Group the summaries by everything that must be equal in one chart."""
    groups: dict[tuple[object, ...], list[CellSummary]] = {}
    for cell in summaries:
        groups.setdefault(_setting(cell), []).append(cell)
    made = []
    names: Counter[str] = Counter()
    for cells in groups.values():
        load = _load_name(cells[0])
        names[load] += 1
        if names[load] > 1:
            load = f"{load}-{names[load]}"
        made.append(
            Panel(
                env_id=cells[0].env_id,
                load=load,
                cells=[cell for cell in cells if cell.status == "ok" or cell.rounds],
                n_failed=sum(cell.status == "failed" for cell in cells),
                n_skipped=sum(cell.status == "skipped" for cell in cells),
            )
        )
    return made


def _setting(cell: CellSummary) -> tuple[object, ...]:
    return (
        cell.env_id,
        cell.label,
        cell.kind,
        cell.mode,
        cell.workload,
        cell.n_prompt,
        cell.n_gen,
        cell.n_depth,
        cell.n_ctx,
        cell.n_batch,
        cell.n_ubatch,
        cell.type_k,
        cell.type_v,
        cell.flash_attn_asked,
        cell.load_mode,
        cell.repack,
        cell.device,
        cell.cores,
    )


def _load_name(cell: CellSummary) -> str:
    if cell.workload != "custom":
        return "".join(letter if letter.isalnum() else "_" for letter in cell.workload)[:40]
    return f"p{cell.n_prompt}-n{cell.n_gen}-d{cell.n_depth}"


def levels_of(cells: Sequence[CellSummary]) -> list[str]:
    """Name the levels, the most bits per weight first."""
    bits: dict[str, float] = {}
    for cell in cells:
        bits[cell.quant] = max(bits.get(cell.quant, 0.0), cell.bpw)
    return sorted(bits, key=lambda level: (-bits[level], level))


def models_of(cells: Sequence[CellSummary]) -> list[str]:
    """Name the models, the smallest first."""
    sizes = {cell.model: cell.n_params for cell in cells}
    return sorted(sizes, key=lambda model: (sizes[model], model))


def at_common_threads(cells: Sequence[CellSummary]) -> tuple[list[CellSummary], int]:
    """Choose one thread count for a chart that has no axis for it: the largest that every file was measured at.

    Where there is none, the one that most files were measured at.
    """
    files: dict[int, set[str]] = {}
    for cell in cells:
        files.setdefault(cell.n_threads, set()).add(cell.artifact_sha256)
    chosen = max(files, key=lambda threads: (len(files[threads]), threads))
    # Of several prefill thread counts, the one that equals decode's, else the largest.
    best: dict[str, CellSummary] = {}
    for cell in cells:
        if cell.n_threads == chosen:
            known = best.get(cell.artifact_sha256)
            if known is None or _batch_rank(cell) > _batch_rank(known):
                best[cell.artifact_sha256] = cell
    return list(best.values()), chosen


def _batch_rank(cell: CellSummary) -> tuple[bool, int]:
    return (cell.n_threads_batch == cell.n_threads, cell.n_threads_batch)


def spread(cell: CellSummary, name: str) -> tuple[float, float, float] | None:
    """Give a figure with its interval, or its smallest and largest where rounds are too few; None without it."""
    middle = getattr(cell, name)
    if middle is None:
        return None
    lo, hi = getattr(cell, f"{name}_lo"), getattr(cell, f"{name}_hi")
    if lo is None or hi is None:
        lo, hi = getattr(cell, f"{name}_min"), getattr(cell, f"{name}_max")
    return middle, middle if lo is None else lo, middle if hi is None else hi


def ms_per_token(values: tuple[float, float, float]) -> tuple[float, float, float]:
    """Turn tokens per second into milliseconds per token; the ends change places."""
    middle, lo, hi = values
    return 1000 / middle, 1000 / hi, 1000 / lo
