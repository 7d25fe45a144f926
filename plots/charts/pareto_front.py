"""Which files of a model are worth having: those that no other file of it beats in speed, memory and quality."""

from collections.abc import Sequence

from plots.canvas.figures import decode_tps, kld_of, peak_mib
from profiler.records.cell_summary import CellSummary
from profiler.records.span import Span


def dominators(cells: Sequence[CellSummary]) -> dict[str, str]:
    """Return the level that beats a cell, by the cell's key, for each cell that is beaten.

    One cell beats another of the same model when it is nowhere worse and somewhere better. What is within the other's
    bar is neither. Quality is the measured KLD where both have it, else bits per weight.
    """
    beaten: dict[str, str] = {}
    for cell in cells:
        rivals = [each for each in cells if each.artifact.model == cell.artifact.model and each is not cell]
        better = [each for each in rivals if _beats(each, cell)]
        if better:
            beaten[cell.cell_key] = max(
                better, key=lambda each: each.decode_tps.value if each.decode_tps else 0.0
            ).artifact.level
    return beaten


def _beats(one: CellSummary, other: CellSummary) -> bool:
    signs = [
        _sign(decode_tps(one), decode_tps(other)),
        -_sign(peak_mib(one), peak_mib(other)),
        _quality_sign(one, other),
    ]
    return min(signs) >= 0 and max(signs) > 0


def _quality_sign(one: CellSummary, other: CellSummary) -> int:
    first, second = kld_of(one), kld_of(other)
    if first and second:
        return -_sign(first, second)
    return (one.artifact.bpw > other.artifact.bpw) - (one.artifact.bpw < other.artifact.bpw)


def _sign(one: Span | None, other: Span | None) -> int:
    """Return 1 where the first is larger beyond both bars, -1 where smaller, 0 where they overlap or are unknown."""
    if one is None or other is None:
        return 0
    return (one.lo > other.hi) - (one.hi < other.lo)
