"""What belongs into one chart: cells that may be compared, and nothing else."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import msgspec

from plots.canvas.text_width import printable
from profiler.records.cell_summary import CellSummary
from profiler.records.span import Span

_LEVEL_CHARS = 24  # far more than llama.cpp's names have
_ORIGIN = ("env_id", "label", "kind")
_SETTING = ("mode", "workload", "n_prompt", "n_gen", "n_depth", "n_ctx", "n_batch", "n_ubatch", "n_outputs_max",
            "type_k", "type_v", "flash_attn", "load_mode", "repack", "device", "n_gpu_layers", "cores")  # fmt: skip
Point = tuple[float, float, float]  # the median, and the ends of its interval or range


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """Cells of one environment, one load and one setting; files and threads vary."""

    env_id: str
    load: str  # for file names: "bench", "chat", "p512-n128-d0"
    cells: list[CellSummary]  # those with figures
    lost: list[CellSummary]  # those that failed or were skipped, in some round or in all


def distinct(summaries: Sequence[CellSummary]) -> list[CellSummary]:
    """Give files that would look alike names of their own.

    Made-up weights beside real ones, an imatrix, two files of one name and level. Names are a stranger's text, and are
    made fit for one line as well.
    """
    mixed = len({cell.artifact.weights for cell in summaries}) > 1
    shown = [
        _named(
            cell,
            model=printable(cell.artifact.model)
            + (" (synthetic)" if mixed and cell.artifact.weights != "real" else ""),
            level=printable(cell.artifact.level)[:_LEVEL_CHARS] + (" imatrix" if cell.artifact.imatrix_sha256 else ""),
        )
        for cell in summaries
    ]
    files: dict[tuple[str, str], set[str]] = {}
    for cell in shown:
        files.setdefault((cell.artifact.model, cell.artifact.level), set()).add(cell.artifact.sha256)
    return [
        _named(cell, level=f"{cell.artifact.level} {cell.artifact.sha256[:6]}")
        if len(files[cell.artifact.model, cell.artifact.level]) > 1
        else cell
        for cell in shown
    ]


def _named(cell: CellSummary, **names: str) -> CellSummary:
    return msgspec.structs.replace(cell, artifact=msgspec.structs.replace(cell.artifact, **names))


def panels(summaries: Sequence[CellSummary]) -> list[Panel]:
    """Group the summaries by everything that must be equal in one chart."""
    groups: dict[tuple[object, ...], list[CellSummary]] = {}
    for cell in summaries:
        groups.setdefault(setting_of(cell), []).append(cell)
    made = []
    names: Counter[tuple[str, str]] = Counter()
    for cells in groups.values():
        env_id, load = cells[0].env_id, load_name(cells[0])
        names[env_id, load] += 1
        if names[env_id, load] > 1:
            load = f"{load}-{names[env_id, load]}"
        made.append(
            Panel(
                env_id=env_id,
                load=load,
                cells=[cell for cell in cells if cell.status == "ok" or cell.rounds],
                lost=[cell for cell in cells if cell.status != "ok"],
            )
        )
    return made


def setting_of(cell: CellSummary, without: Collection[str] = ()) -> tuple[object, ...]:
    """Give all that must be equal in one chart, but for what is the chart's own axis."""
    names = ((cell, _ORIGIN), (cell.config, _SETTING))
    return tuple(getattr(holder, name) for holder, fields in names for name in fields if name not in without)


def load_name(cell: CellSummary) -> str:
    """Name a load for file names."""
    if cell.config.workload != "custom":
        return "".join(letter if letter.isalnum() else "_" for letter in cell.config.workload)[:40]
    return f"p{cell.config.n_prompt}-n{cell.config.n_gen}-d{cell.config.n_depth}"


def pages(panel: Panel, most: int) -> Iterator[Panel]:
    """Split a panel so that no part has more than `most` models."""
    models = models_of(panel.cells)
    for first in range(0, max(len(models), 1), most):
        part = models[first : first + most]
        yield msgspec.structs.replace(panel, cells=[cell for cell in panel.cells if cell.artifact.model in part])


def levels_of(cells: Sequence[CellSummary]) -> list[str]:
    """Name the levels, the most bits per weight first."""
    bits: dict[str, float] = {}
    for cell in cells:
        bits[cell.artifact.level] = max(bits.get(cell.artifact.level, 0.0), cell.artifact.bpw)
    return sorted(bits, key=lambda level: (-bits[level], level))


def models_of(cells: Sequence[CellSummary]) -> list[str]:
    """Name the models, the smallest first."""
    sizes = {cell.artifact.model: cell.artifact.n_params for cell in cells}
    return sorted(sizes, key=lambda model: (sizes[model], model))


def at_common_threads(cells: Sequence[CellSummary]) -> list[CellSummary]:
    """Choose one thread count for a chart that has no axis for it: the largest that every file was measured at.

    Where there is none, the one that most files were measured at. Of several prefill thread counts, the one that equals
    decode's, else the largest.
    """
    files: dict[int, set[str]] = {}
    for cell in cells:
        files.setdefault(cell.config.n_threads, set()).add(cell.artifact.sha256)
    chosen = max(files, key=lambda threads: (len(files[threads]), threads))
    best: dict[str, CellSummary] = {}
    for cell in cells:
        if cell.config.n_threads == chosen:
            known = best.get(cell.artifact.sha256)
            if known is None or pair_rank(cell) > pair_rank(known):
                best[cell.artifact.sha256] = cell
    return list(best.values())


def pair_rank(cell: CellSummary) -> tuple[bool, int]:
    """Rank cells that differ in the other kind's threads only: equal counts first, then the most threads."""
    return (cell.config.n_threads_batch == cell.config.n_threads, cell.config.n_threads + cell.config.n_threads_batch)


def spread(cell: CellSummary, name: str) -> Point | None:
    """Give a figure with its interval, or its smallest and largest where rounds are too few; None without it."""
    span: Span | None = getattr(cell, name)
    return None if span is None else (span.value, span.lo, span.hi)


def ms_per_token(values: Point) -> Point:
    """Turn tokens per second into milliseconds per token; the ends change places."""
    middle, lo, hi = values
    return 1000 / middle, 1000 / hi, 1000 / lo


def quality_of(cell: CellSummary) -> Point | None:
    """Give what quantizing lost: the divergence from the unquantized model, with two standard errors; else None."""
    kld = cell.quality.kld
    return None if kld is None else (kld.value, max(0.0, kld.value - 2 * kld.se), kld.value + 2 * kld.se)
