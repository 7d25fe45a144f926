"""What runs each choice, beside it: pure."""

from collections.abc import Mapping, Sequence

import msgspec

from profiler.deploy.make import deploy_of
from profiler.recommend.records import Choice, Recommendation
from profiler.records.cell_summary import CellSummary


def with_deploy(
    recommendation: Recommendation, summaries: Sequence[CellSummary], model_paths: Mapping[str, str | None]
) -> Recommendation:
    """Return the recommendation with what runs each choice.

    Args:
        recommendation: of these summaries.
        summaries: the cells.
        model_paths: by sha256, the path of a model's file from the current folder; None where it is not known.
    """
    n_ctx = recommendation.limits.n_ctx

    def filled(choice: Choice) -> Choice:
        cell = chosen_cell(choice, summaries)
        if cell is None:
            return choice
        model_path = model_paths.get(cell.artifact.sha256)
        return msgspec.structs.replace(choice, deploy=deploy_of(cell, model_path=model_path, n_ctx=n_ctx))

    return msgspec.structs.replace(recommendation, choices=tuple(map(filled, recommendation.choices)))


def chosen_cell(choice: Choice, summaries: Sequence[CellSummary]) -> CellSummary | None:
    """Return the summary of the chosen cell; None without a choice."""
    if choice.chosen is None:
        return None
    key = choice.env_id, choice.chosen.cell_key
    return next(cell for cell in summaries if (cell.env_id, cell.cell_key) == key)
