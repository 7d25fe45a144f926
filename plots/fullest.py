"""What is drawn of results with more cells than anyone looks at: the panels and models that have the most of them."""

from collections.abc import Sequence

import msgspec

from plots.load import Panel, distinct, panels
from profiler.results import Results
from profiler.stored import StoredRounds
from profiler.summary import CellSummary

MANY_CELLS = 2000  # a study by hand has some hundred; a collection of many boards has more


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """How much is drawn at most."""

    panels: int  # combinations of device, workload and settings
    models: int
    cells: int  # of a panel: where every level has every thread count, one model may be enough


SOME = Limit(panels=3, models=12, cells=400)
FEW = Limit(panels=1, models=6, cells=200)  # where reading alone takes seconds


def fullest(summaries: Sequence[CellSummary], limit: Limit) -> tuple[list[CellSummary], str | None]:
    """Take the panels with the most cells and the smallest models; say what is left out, None where nothing is."""
    drawable = [cell for cell in summaries if cell.rounds]
    names = [(shown.model, cell) for shown, cell in zip(distinct(drawable), drawable, strict=True)]
    model_of = {id(cell): model for model, cell in names}
    groups: list[Panel] = sorted(panels(drawable), key=lambda panel: -len(panel.cells))
    models: dict[str, int] = {}
    for cell in drawable:
        models[model_of[id(cell)]] = cell.n_params
    first = [model_of[id(cell)] for cell in groups[0].cells] if groups else []
    fit = max(1, limit.cells * len(set(first)) // max(1, len(first)))
    n_models = min(limit.models, fit)
    kept_models = set(sorted(models, key=lambda model: (models[model], model))[:n_models])
    kept = [cell for panel in groups[: limit.panels] for cell in panel.cells if model_of[id(cell)] in kept_models]
    parts = []
    if len(groups) > limit.panels:
        parts.append(f"{limit.panels} of {len(groups)} combinations of device, workload and settings")
    if len(models) > n_models:
        parts.append(f"the {n_models} smallest of {len(models)} models" if n_models > 1 else "the smallest model")
    return kept, f"Drawn are {' and '.join(parts)}" if parts else None


def narrowed(results: Results, cells: Sequence[CellSummary]) -> Results:
    """Keep the rounds of some cells only, without decoding any."""
    rounds = results.rounds
    if not isinstance(rounds, StoredRounds):
        return results
    keys = {(cell.cell_key, cell.env_id) for cell in cells}
    return msgspec.structs.replace(
        results, rounds=rounds.only([(head.cell.key, head.env_id) in keys for head in rounds.heads])
    )
