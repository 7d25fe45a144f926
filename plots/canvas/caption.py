"""The text under a chart: what it draws and what is missing; saved alone also device, workload, settings and rounds."""

from collections.abc import Sequence
from typing import Literal

from plots.canvas.panels import Panel, models_of
from plots.canvas.setting import (
    MOST_MODELS,
    cells_in_words,
    device_in_words,
    load_in_words,
    models_in_words,
    range_in_words,
    repeats_in_words,
    rounds_and_reps,
    threads_in_words,
)
from plots.canvas.text_width import printable
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary

_NAMED = 4  # so many cells are named; of more, how many they are
# What a chart's bars show: an interval where there are six rounds, never an interval, or nothing.
Bars = Literal["interval", "range", "none"]


def caption(panel: Panel, cells: Sequence[CellSummary], theme: Theme, bars: Bars = "interval") -> str:
    """Return one paragraph about the cells that are drawn, of those of the panel."""
    parts = _place(panel, cells, theme) if theme.in_report else _setting(panel, cells, theme, bars)
    parts += _synthetic(cells) + _standins(cells) + _missing(panel, cells)
    if flagged := [cell for cell in cells if cell.flags]:
        flags = sorted({flag for cell in flagged for flag in cell.flags})
        parts.append(f"Disturbed: {cells_in_words(flagged, _NAMED)} ({', '.join(flags)}).")
    return " ".join(parts)


def _place(panel: Panel, cells: Sequence[CellSummary], theme: Theme) -> list[str]:
    """Return which of the workloads and devices at the report's top the chart is of."""
    environment = theme.environments.get(panel.env_id)
    several = len(theme.environments) > 1 and environment is not None and len({cell.env_id for cell in cells}) == 1
    device = f" on {printable(environment.board or environment.cpu_model)}" if several and environment else ""
    return [f"Workload {panel.load}{device}, {threads_in_words(cells)}."]


def _setting(panel: Panel, cells: Sequence[CellSummary], theme: Theme, bars: Bars) -> list[str]:
    """Return everything that a reader of the chart alone must know."""
    n_models = len(models_of(cells))
    if n_models > MOST_MODELS:
        parts = [f"{models_in_words(cells)}, named in the CSV file next to this chart."]
    else:
        parts = [f"Model{'' if n_models == 1 else 's'} and unique parameters: {models_in_words(cells)}."]
    if devices := devices_of(cells, theme):
        parts.append(devices)
    parts.append(f"Workload {printable(cells[0].config.workload)}: {load_in_words(cells)}, {threads_in_words(cells)}.")
    return [*parts, _repeats(cells, bars)]


def devices_of(cells: Sequence[CellSummary], theme: Theme) -> str:
    """Return every device and build that the cells were measured on; empty where none is known."""
    env_ids = list(dict.fromkeys(cell.env_id for cell in cells))
    found = [
        device_in_words(environment, [cell for cell in cells if cell.env_id == env_id])
        if (environment := theme.environments.get(env_id))
        else f"environment {env_id}"
        for env_id in env_ids
    ]
    if len(env_ids) > 1:
        return f"Devices: {'; '.join(found)}."
    return f"{found[0]}." if env_ids[0] in theme.environments else ""


def _repeats(cells: Sequence[CellSummary], bars: Bars) -> str:
    if cells[0].kind == "estimated":
        return "Estimated, not measured; error bars, where there are any: 90 % ranges."
    repeats, ends = repeats_in_words(cells), range_in_words(rounds_and_reps(cells)[0])
    if bars == "none":
        return f"{repeats.removeprefix('medians over ').capitalize()}."
    if ends is None:
        return f"{repeats.capitalize()}: one round has no range."
    return f"{repeats.capitalize()}; error bars: {'smallest and largest round' if bars == 'range' else ends}."


def _synthetic(cells: Sequence[CellSummary]) -> list[str]:
    shapes = sorted({printable(cell.artifact.standin_for or "?") for cell in cells if cell.artifact.weights != "real"})
    if not shapes:
        return []
    named = ", ".join(shapes) if len(models_of(cells)) <= MOST_MODELS else f"{len(shapes)} of the models"
    return [f"Synthetic weights in the shape of {named}."]


def _standins(cells: Sequence[CellSummary]) -> list[str]:
    """Return which models were measured in another family's shape, since llama.cpp lacks theirs."""
    names = sorted(
        {
            f"{printable(file.arch)} for {printable(file.standin_for or '?')} ({printable(file.standin_family)})"
            for file in (cell.artifact for cell in cells)
            if file.standin_family is not None
        }
    )
    if len(names) > MOST_MODELS // 3:
        return [f"Stand-ins: {len(names)}, marked."]
    return [f"Stand-in: {', '.join(names)}."] if names else []


def _missing(panel: Panel, cells: Sequence[CellSummary]) -> list[str]:
    """Return what the reader would miss: cells without figures, and files not measured at these threads."""
    parts = []
    for status in ("failed", "skipped"):
        gone = [cell for cell in panel.lost if cell.status == status]
        if without := [cell for cell in gone if not cell.rounds]:
            parts.append(f"{status.capitalize()}, so not drawn: {cells_in_words(without, _NAMED)}.")
        if some := [cell for cell in gone if cell.rounds]:
            parts.append(f"{status.capitalize()} in some rounds: {cells_in_words(some, _NAMED)}.")
    drawn = {cell.artifact.sha256 for cell in cells}
    others = {cell.artifact.sha256: cell for cell in panel.cells if cell.artifact.sha256 not in drawn}
    if others:
        names = [f"{cell.artifact.model} {cell.artifact.level}" for cell in others.values()]
        listed = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} files"
        parts.append(f"Not drawn, without these figures: {listed}.")
    return parts


def marks_in_words(cells: Sequence[CellSummary]) -> str:
    """Return the line under the title that nobody may overlook; empty where all is measured on real weights."""
    found = ["estimated, not measured"] if cells[0].kind == "estimated" else []
    synthetic = [cell.artifact.weights != "real" for cell in cells]
    standin = [cell.artifact.standin_family is not None for cell in cells]
    if any(synthetic):
        found.append("synthetic weights" if all(synthetic) else "some weights synthetic")
    if any(standin):
        found.append("in a stand-in's shape" if all(standin) else "some in a stand-in's shape")
    return "; ".join(found)
