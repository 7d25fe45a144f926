"""What all charts and tables of a report share, said once at its top: models, devices, workloads, rounds."""

from collections.abc import Mapping, Sequence

from plots.canvas.panels import Panel, distinct, panels, setting_of
from plots.canvas.setting import (
    device_in_words,
    load_in_words,
    models_in_words,
    range_in_words,
    repeats_in_words,
    rounds_and_reps,
    threads_in_words,
)
from plots.canvas.text_width import printable
from profiler.records.cell_summary import CellSummary
from profiler.records.environment import Environment
from quant.base.text import counted_range

_MOST_ROWS = 12  # of workloads, and of devices


def setup_of(
    environments: Mapping[str, Environment], drawn: Sequence[CellSummary], summaries: Sequence[CellSummary]
) -> list[tuple[str, str]]:
    """Return names and values; workloads are those of the cells drawn in charts, under the names that these use."""
    measured = [cell for cell in summaries if cell.rounds]
    if not measured:
        return []
    rows = [
        (
            "models" if len({cell.artifact.model for cell in measured}) > 1 else "model",
            models_in_words(distinct(measured)),
        )
    ]
    env_ids = [env_id for env_id in dict.fromkeys(cell.env_id for cell in measured) if env_id in environments]
    for env_id in env_ids[:_MOST_ROWS]:
        own = [cell for cell in measured if cell.env_id == env_id]
        rows.append(("device", device_in_words(environments[env_id], own)))
    if left := len(env_ids[_MOST_ROWS:]):
        rows.append(("device", f"and {left} more, see Environment"))
    loads = _loads_of(distinct(drawn))
    for found in loads[:_MOST_ROWS]:
        names = ", ".join(dict.fromkeys(panel.load for panel in found))
        cells = [cell for panel in found for cell in panel.cells]
        rows.append((printable(names), f"{load_in_words(cells)}, {threads_in_words(cells)}"))
    if left := len(loads[_MOST_ROWS:]):
        rows.append(("workloads", f"and {left} more, see the table"))
    ordinary = [cell for cell in measured if not cell.config.sustain_s]
    minutes = [cell.rounds for cell in measured if cell.config.sustain_s]
    rows += [("rounds", _rounds(ordinary))] if ordinary else []
    rows += [("sustained", f"medians over {counted_range(minutes, 'minute')} of steady state")] if minutes else []
    return rows


def _loads_of(cells: Sequence[CellSummary]) -> list[list[Panel]]:
    """Return the panels with figures; those that differ in depth or device only are one load."""
    loads: dict[tuple[object, ...], list[Panel]] = {}
    for panel in panels(cells):
        if panel.cells:
            key = setting_of(panel.cells[0], ("env_id", "cores", "label", "n_depth", "n_ctx"))
            loads.setdefault((panel.load, *key) if panel.cells[0].config.mode == "request" else key, []).append(panel)
    return list(loads.values())


def _rounds(cells: Sequence[CellSummary]) -> str:
    ends = range_in_words(rounds_and_reps(cells)[0])
    if ends is None:
        return f"{repeats_in_words(cells)}: one round has no range"
    return f"{repeats_in_words(cells)}; error bars and brackets: {ends}; where two overlap, it is a tie"
