"""What belongs into one chart: cells that may be compared, and nothing else."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import TypeVar

import msgspec

from plots.canvas.text_width import printable
from profiler.records.cell_summary import CellSummary

Item = TypeVar("Item")

_LEVEL_CHARS = 24  # far more than llama.cpp's names have
_ORIGIN = ("env_id", "label", "kind")
_SETTING = ("mode", "workload", "n_prompt", "n_gen", "n_depth", "sustain_s", "n_ctx", "n_batch", "n_ubatch",
            "n_outputs_max", "type_k", "type_v", "flash_attn", "load_mode", "repack", "device", "n_gpu_layers",
            "cores")  # fmt: skip


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """Cells of one environment, one load and one setting; files and threads vary."""

    env_id: str
    load: str  # for file names: "bench", "chat", "p512-n128-d0"
    cells: list[CellSummary]  # those with figures
    lost: list[CellSummary]  # those that failed or were skipped, in some round or in all


def distinct(summaries: Sequence[CellSummary]) -> list[CellSummary]:
    """Return the cells with names that no two files share, each fit for one line.

    Files would look alike with synthetic weights next to real ones, with an imatrix, or where two have one name and
    level.
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
    seen: Counter[str] = Counter()
    for cells in groups.values():
        made.append(
            Panel(
                env_id=cells[0].env_id,
                load=numbered(load_name(cells[0]), seen, cells[0].env_id),
                cells=[cell for cell in cells if cell.status == "ok" or cell.rounds],
                lost=[cell for cell in cells if cell.status != "ok"],
            )
        )
    return made


def setting_of(cell: CellSummary, without: Collection[str] = ()) -> tuple[object, ...]:
    """Return everything that must be equal in one chart, except what is the chart's own axis."""
    return _reader_of(tuple(without))(cell)


@cache
def _reader_of(without: tuple[str, ...]) -> Callable[[CellSummary], tuple[object, ...]]:
    names = (*_ORIGIN, *(f"config.{name}" for name in _SETTING))
    return attrgetter(*(name for name in names if name.removeprefix("config.") not in without))


def load_name(cell: CellSummary) -> str:
    """Name a load for file names; an estimate's is marked."""
    config = cell.config
    name = f"p{config.n_prompt}-n{config.n_gen}-d{config.n_depth}"
    if config.workload != "custom":
        name = "".join(letter if letter.isalnum() else "_" for letter in config.workload)[:40]
    return name + ("-sustained" if config.sustain_s else "") + ("-estimated" if cell.kind == "estimated" else "")


def numbered(name: str, seen: Counter[str], within: str = "") -> str:
    """Return a name for files, with a number from its second use on; names count apart `within` each device."""
    key = f"{within}/{name}"
    seen[key] += 1
    return name if seen[key] == 1 else f"{name}-{seen[key]}"


def stem_of(panel: Panel, groups: Sequence[Panel]) -> str:
    """Return a panel's part of a file name; its device is in it where there are several."""
    return panel.load + (f"-{panel.env_id}" if len({each.env_id for each in groups}) > 1 else "")


def paged(name: str, items: Sequence[Item], most: int) -> Iterator[tuple[str, Sequence[Item]]]:
    """Split items so that no part has more than `most`; yield each with its name, numbered from the second on."""
    for first in range(0, len(items), most):
        yield name if first == 0 else f"{name}-page{first // most + 1}", items[first : first + most]


def pages(name: str, panel: Panel, most: int) -> Iterator[tuple[str, Panel]]:
    """Split a panel so that no part has more than `most` models; yield each with its name."""
    if not panel.cells:  # a chart says itself why it has nothing to draw
        yield name, panel
    for part, models in paged(name, models_of(panel.cells), most):
        yield (
            part,
            msgspec.structs.replace(panel, cells=[cell for cell in panel.cells if cell.artifact.model in models]),
        )


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
    """Choose one thread count for a chart without an axis for it: the largest that every file was measured at.

    Where there is none, the one that most files were measured at. Of several prefill thread counts, the one equal to
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
