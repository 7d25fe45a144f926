"""The words under a chart: what was measured, on what, how often."""

import textwrap
from collections.abc import Sequence

from plots.load import Panel
from profiler.record import Environment
from profiler.summary import CellSummary

_INTERVAL_ROUNDS = 6


def caption(panel: Panel, cells: Sequence[CellSummary], environment: Environment | None, threads: str) -> str:
    """Write one paragraph."""
    first = cells[0]
    parts = []
    if environment is not None:
        board = f"{environment.board}, " if environment.board else ""
        parts.append(
            f"{board}{environment.cpu_model}, {environment.cores_physical} cores; llama.cpp "
            f"{environment.llama_commit}, {first.backend or '+'.join(environment.backends)}, "
            f"{environment.threading} threads."
        )
    if first.mode == "request":
        load = f"{first.workload}: {first.n_prompt} tokens in, {first.n_gen} out, decode at depth {first.decode_depth}"
    else:
        load = (
            f"{first.workload}: prefill of {first.n_prompt} and decode of {first.n_gen} tokens, "
            f"each at depth {first.n_depth}"
        )
    parts.append(f"{load}; context {first.n_ctx}, {threads}{'' if first.repack else ', weights not repacked'}.")
    if first.kind == "estimated":
        parts.append("Estimated, not measured.")
    else:
        rounds = sorted({cell.rounds for cell in cells})
        reps = sorted({cell.reps for cell in cells})
        bars = (
            "95 % intervals of the median"
            if rounds[0] >= _INTERVAL_ROUNDS
            else "smallest and largest round (an interval needs six)"
        )
        plural = "" if reps == [1] else "s"
        parts.append(f"Medians over {_span(rounds)} rounds of {_span(reps)} repetition{plural}; bars: {bars}.")
    made_up = sorted({cell.standin_for or cell.model for cell in cells if cell.weights != "real"})
    if made_up:
        parts.append(f"Synthetic weights in the shape of {', '.join(made_up)}.")
    if panel.n_failed or panel.n_skipped:
        parts.append(f"{panel.n_failed} cells failed, {panel.n_skipped} skipped.")
    return " ".join(parts)


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def wrapped(text: str, width_in: float, font_pt: float) -> str:
    """Break text into lines that fit a width; a letter of DejaVu Sans is about 0.55 of its size wide."""
    per_line = max(30, int(width_in * 72 / (0.55 * font_pt)))
    return "\n".join(textwrap.wrap(text, per_line))


def is_synthetic(cells: Sequence[CellSummary]) -> bool:
    """Tell whether any of the weights were made up."""
    return any(cell.weights != "real" for cell in cells)


def threads_words(count: int) -> str:
    """Say a number of threads."""
    return f"{count} thread{'' if count == 1 else 's'}"
