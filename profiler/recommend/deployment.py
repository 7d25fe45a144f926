"""What runs the choices: texts beside each, and a folder of files."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from profiler.deploy.files import relative_path, write_deploy
from profiler.deploy.make import deploy_of
from profiler.recommend.records import Choice, Recommendation
from profiler.records.cell_summary import CellSummary

FOLDER = "deploy"


def with_deploy(
    recommendation: Recommendation, summaries: Sequence[CellSummary], models: Mapping[str, Path | None]
) -> Recommendation:
    """Return the recommendation with what runs each choice from the current folder.

    Args:
        recommendation: of these summaries.
        summaries: the cells.
        models: by sha256, where the model's file is; None where it is not known.
    """
    n_ctx = recommendation.limits.n_ctx

    def filled(choice: Choice) -> Choice:
        cell = _cell_of(choice, summaries)
        if cell is None:
            return choice
        model_path = relative_path(models.get(cell.artifact.sha256), Path())
        return msgspec.structs.replace(choice, deploy=deploy_of(cell, model_path=model_path, n_ctx=n_ctx))

    return msgspec.structs.replace(recommendation, choices=tuple(map(filled, recommendation.choices)))


def write_choices(
    recommendation: Recommendation,
    summaries: Sequence[CellSummary],
    models: Mapping[str, Path | None],
    folder: Path,
) -> list[Path]:
    """Write what runs each choice: one into deploy/, several into folders of their own below; return these folders.

    Raises:
        UserError: a folder cannot be written.
    """
    chosen = [(choice, cell) for choice in recommendation.choices if (cell := _cell_of(choice, summaries))]
    written: list[Path] = []
    for choice, cell in chosen:
        target = folder / FOLDER
        if len(chosen) > 1:
            target = _unused(target / re.sub(r"[^\w.-]+|^\.+", "-", f"{choice.model}-{choice.workload}"), written)
        if write_deploy(cell, target, model=models.get(cell.artifact.sha256), n_ctx=recommendation.limits.n_ctx):
            written.append(target)
    return written


def _unused(folder: Path, used: Sequence[Path]) -> Path:
    """Return the folder, with a number behind its name where that is used."""
    number, found = 1, folder
    while found in used:
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found


def _cell_of(choice: Choice, summaries: Sequence[CellSummary]) -> CellSummary | None:
    """Return the summary of the chosen cell; None without a choice."""
    if choice.chosen is None:
        return None
    key = choice.env_id, choice.chosen.cell_key
    return next(cell for cell in summaries if (cell.env_id, cell.cell_key) == key)
