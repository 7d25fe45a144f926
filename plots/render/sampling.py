"""What is drawn of results with more cells than anyone looks at: of the fullest panels the smallest models."""

from collections.abc import Sequence
from itertools import compress

import msgspec

from plots.canvas.panels import Panel, distinct, panels
from profiler.records.cell_summary import CellSummary
from profiler.results.file import Results
from profiler.results.stored import StoredRounds, heads_of

MANY_CELLS = 2000  # a study by hand has some hundred; a collection of many boards has more


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """How much is drawn at most."""

    panels: int  # combinations of device, workload and settings
    models: int
    cells: int  # of a panel: where every level has every thread count, one model may be enough


SOME = Limit(panels=3, models=12, cells=400)
FEW = Limit(panels=1, models=4, cells=200)  # of more than MANY_CELLS


def sampled(summaries: Sequence[CellSummary]) -> tuple[list[CellSummary], str | None]:
    """Return the cells of the panels with the most cells and of the smallest models in them, and what these omit.

    Cells that failed go with their panel. Where nothing is omitted, the second is None.
    """
    limit = FEW if len(summaries) > MANY_CELLS else SOME
    model_of = {id(cell): shown.artifact.model for cell, shown in zip(summaries, distinct(summaries), strict=True)}
    groups: list[Panel] = sorted(panels(summaries), key=lambda panel: -len(panel.cells))
    drawn = [panel for panel in groups if panel.cells]
    kept = drawn[: limit.panels]
    sizes: dict[str, int] = {}
    for cell in (cell for panel in kept for cell in panel.cells):
        sizes[model_of[id(cell)]] = cell.artifact.n_params
    first = [model_of[id(cell)] for cell in kept[0].cells] if kept else []
    fit = max(1, limit.cells * len(set(first)) // max(1, len(first)))
    n_models = min(limit.models, fit)
    if len(kept) == len(drawn) and len(sizes) <= n_models:
        return list(summaries), None
    models = set(sorted(sizes, key=lambda model: (sizes[model], model))[:n_models])
    ids = {id(cell) for panel in kept for cell in (*panel.cells, *panel.lost)}
    cells = [cell for cell in summaries if id(cell) in ids and model_of[id(cell)] in models]
    parts = []
    if len(drawn) > limit.panels:
        parts.append(f"{limit.panels} of {len(drawn)} combinations of device, workload and settings")
    if len(sizes) > n_models:
        parts.append(f"the {n_models} smallest of {len(sizes)} models" if n_models > 1 else "the smallest model")
    return cells, f"The charts show {' and '.join(parts)}"


def restricted(results: Results, cells: Sequence[CellSummary]) -> Results:
    """Return the results with the rounds of some cells only, without decoding any."""
    rounds, keys = results.rounds, {(cell.cell_key, cell.env_id) for cell in cells}
    wanted = [(head.cell.key, head.env_id) in keys for head in heads_of(rounds)]
    kept = rounds.only(wanted) if isinstance(rounds, StoredRounds) else list(compress(rounds, wanted))
    return msgspec.structs.replace(results, rounds=kept, key=None)
