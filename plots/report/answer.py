"""The answer at the top of a report: which model at which level, and what the others cost.

Without stated limits and measured quality the fastest decode of each model among cells that nothing disturbed is the
answer, and what overlaps with it is a tie. With either, `chosen.py` asks `profiler.recommend`. A report knows only
`Answer`.
"""

from collections.abc import Sequence

import msgspec

from plots.canvas.panels import Panel, panels
from profiler.records.cell_summary import CellSummary
from quant.base.units import format_bytes

_RUNNERS_UP = 4  # of one model
_MODELS = 8  # more make no answer but a table, and that stands below


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One file at its best setting."""

    cell: CellSummary
    is_best: bool  # of its model
    costs: str  # against the best one, in words


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What to ship, as far as the results tell."""

    headline: str
    reasons: list[str]
    choices: list[Choice]  # the best of each model, each followed by its runners-up


def answer(summaries: Sequence[CellSummary], *, quality_problem: str | None = None) -> Answer:
    """Choose among the cells that may be compared and that nothing disturbed.

    Args:
        summaries: the cells.
        quality_problem: why quality that was measured is in no cell.
    """
    usable = [cell for cell in summaries if cell.status == "ok" and cell.decode_tps is not None]
    trusted = [cell for cell in usable if not cell.flags]
    if not usable:
        return Answer(
            headline="No choice: no decode was measured",
            reasons=[f"Of {len(summaries)} cells none has a decode rate."],
            choices=[],
        )
    panel = max(panels(trusted or usable), key=_worth)
    best_of_file: dict[str, CellSummary] = {}
    for cell in panel.cells:
        known = best_of_file.get(cell.artifact.sha256)
        if known is None or _speed(cell) > _speed(known):
            best_of_file[cell.artifact.sha256] = cell
    models: dict[str, list[CellSummary]] = {}
    for cell in best_of_file.values():
        models.setdefault(cell.artifact.model, []).append(cell)
    ranked = sorted((sorted(cells, key=_rank) for cells in models.values()), key=lambda cells: _rank(cells[0]))
    choices = [choice for cells in ranked[:_MODELS] for choice in _choices(cells)]
    among = f", the fastest of {len(ranked)} models" if len(ranked) > 1 else ""
    return Answer(
        headline=headline(ranked[0][0]) + among if trusted else "No choice: every cell was disturbed",
        reasons=_reasons(summaries, usable, trusted, panel, len(ranked), quality_problem),
        choices=choices,
    )


def _worth(panel: Panel) -> tuple[int, bool]:
    """Prefer the load that most cells were measured under, and a request where there are as many."""
    return (len(panel.cells), panel.cells[0].config.mode == "request")


def _speed(cell: CellSummary) -> float:
    return cell.decode_tps.value if cell.decode_tps else 0.0


def _rank(cell: CellSummary) -> tuple[float, str, str]:
    return (-_speed(cell), cell.artifact.model, cell.artifact.level)


def headline(cell: CellSummary) -> str:
    """Name a cell and what it reaches."""
    threads = f"{cell.config.n_threads} thread{'' if cell.config.n_threads == 1 else 's'}"
    memory = "" if cell.model_rss_bytes is None else f" in {format_bytes(cell.model_rss_bytes.value)} of memory"
    made_up = "" if cell.artifact.weights == "real" else " (synthetic weights)"
    return (
        f"{cell.artifact.model} at {cell.artifact.level}{made_up} with {threads}: {_speed(cell):.3g} tokens/s{memory}"
    )


def _reasons(
    summaries: Sequence[CellSummary],
    usable: Sequence[CellSummary],
    trusted: Sequence[CellSummary],
    panel: Panel,
    n_models: int,
    quality_problem: str | None,
) -> list[str]:
    first = panel.cells[0]
    work = (
        f"{first.config.n_prompt} tokens in and {first.config.n_gen} out"
        if first.config.mode == "request"
        else f"decode of {first.config.n_gen} tokens at depth {first.config.decode_depth}"
    )
    reasons = []
    if not trusted:
        reasons.append("The warnings below say by what, and what mends it. The figures here are not to be relied on.")
    reasons += [
        "No limits were given, so the fastest decode counts, of each file at its best thread count.",
        f"Workload {first.config.workload}: {work}.",
    ]
    if n_models > 1:
        reasons.append("A smaller model is faster and answers worse; choose the model by what it must be able to do.")
    if quality_problem:
        reasons.append(f"{quality_problem[:1].upper()}{quality_problem[1:]}.")
    elif all(cell.quality.kld is None and cell.quality.ppl is None for cell in panel.cells):
        reasons.append("Quality was not measured: fewer bits per weight cost quality, which nothing here shows.")
    if any(cell.artifact.weights != "real" for cell in panel.cells):
        reasons.append(
            "SYNTHETIC weights: speed and memory are those of the shape; nothing is said about what a model can do."
        )
    if trusted and (n_left := len(usable) - len(trusted)):
        reasons.append(f"{n_left} disturbed cell{'s' if n_left > 1 else ''} took no part; see the warnings.")
    if n_bad := sum(cell.status != "ok" for cell in summaries):
        reasons.append(f"Failed or skipped: {n_bad} cell{'s' if n_bad > 1 else ''}.")
    if n_other := len({(cell.env_id, cell.config.workload, cell.config.mode) for cell in trusted or usable}) - 1:
        reasons.append(
            f"The results hold {n_other} more device{'' if n_other == 1 else 's'} or workload"
            f"{'' if n_other == 1 else 's'}, which the table shows."
        )
    if n_models > _MODELS:
        reasons.append(f"The {_MODELS} fastest of {n_models} models stand here; the table has all.")
    return reasons


def _choices(ranked: Sequence[CellSummary]) -> list[Choice]:
    best = ranked[0]
    made = [Choice(cell=best, is_best=True, costs=_marked(best, "the fastest decode of this model"))]
    for cell in ranked[1 : 1 + _RUNNERS_UP]:
        made.append(Choice(cell=cell, is_best=False, costs=_marked(cell, _costs(cell, best))))
    return made


def _marked(cell: CellSummary, words: str) -> str:
    return f"disturbed ({', '.join(cell.flags)}): {words}" if cell.flags else words


def _costs(cell: CellSummary, best: CellSummary) -> str:
    """Say what a runner-up costs and what it gives, against the best of its model."""
    if cell.decode_tps and best.decode_tps and cell.decode_tps.hi >= best.decode_tps.lo:
        parts = ["a tie in decode: the ranges overlap"]
    else:
        parts = [f"decode {1 - _speed(cell) / _speed(best):.0%} slower"]
    if cell.prefill_tps and best.prefill_tps:
        change = cell.prefill_tps.value / best.prefill_tps.value - 1
        if abs(change) >= 0.02:
            parts.append(f"prefill {abs(change):.0%} {'faster' if change > 0 else 'slower'}")
    if cell.model_rss_bytes is not None and best.model_rss_bytes is not None:
        more = cell.model_rss_bytes.value - best.model_rss_bytes.value
        change_bytes = f"{format_bytes(abs(more))} {'more' if more > 0 else 'less'} memory"
        parts.append(change_bytes if more else "the same memory")
    if cell.quality.kld is not None and best.quality.kld is not None:
        parts.append(f"KL divergence {cell.quality.kld.value:.3g} against {best.quality.kld.value:.3g}")
    else:
        parts.append(f"{cell.artifact.bpw:.2f} bits per weight against {best.artifact.bpw:.2f}")
    return ", ".join(parts)
