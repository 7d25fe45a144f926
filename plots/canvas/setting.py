"""What was measured, on what and how often, in words: under a chart that is saved alone, and at a report's top."""

from collections.abc import Iterable, Sequence

from plots.canvas.panels import models_of
from plots.canvas.text_width import printable
from profiler.analysis.stats import INTERVAL_ROUNDS
from profiler.records.cell_summary import CellSummary
from profiler.records.environment import Environment
from profiler.tables.format import load_in_words as work_in_words
from profiler.tables.format import sustained_in_words
from quant.base.text import counted_range, number_range
from quant.base.units import format_params

MOST_MODELS = 30  # more would be taller than the chart; the CSV file next to it names them


def models_in_words(cells: Sequence[CellSummary]) -> str:
    """Return the models with their sizes, or how many of which sizes."""
    sizes = {cell.artifact.model: cell.artifact.n_params for cell in cells}
    if len(sizes) > MOST_MODELS:
        first, last = min(sizes.values()), max(sizes.values())
        return f"{len(sizes)} models of {format_params(first)} to {format_params(last)} unique parameters"
    active = {cell.artifact.model: cell.artifact.n_params_active for cell in cells}
    return ", ".join(_named(model, format_params(sizes[model], active[model])) for model in models_of(cells))


def _named(model: str, size: str) -> str:
    return f"{model} ({size})" if "," in size else f"{model} {size}"


def device_in_words(environment: Environment, cells: Sequence[CellSummary] = ()) -> str:
    """Return a board, its processor and its build; backends and label as its cells have them."""
    board = f"{printable(environment.board)}, " if environment.board else ""
    backends = sorted({cell.backend for cell in cells if cell.backend}) or ["+".join(environment.backends)]
    build = f"llama.cpp {environment.llama_commit}, {', '.join(backends)}, {environment.threading} threads"
    label = next((f", build {printable(cell.label)}" for cell in cells if cell.label), "")
    return f"{board}{printable(environment.cpu_model)}, {environment.cores_physical} cores; {printable(build)}{label}"


def load_in_words(cells: Sequence[CellSummary]) -> str:
    """Return what one round does and under which settings."""
    return f"{_work(cells)}; {_setting(cells)}"


def _work(cells: Sequence[CellSummary]) -> str:
    config, depths = cells[0].config, sorted({cell.config.n_depth for cell in cells})
    if len(depths) == 1 and config.mode == "request":
        return work_in_words(config)
    tests = [f"{name} of {n}" for name, n in (("prefill", config.n_prompt), ("decode", config.n_gen)) if n]
    if not tests:  # an estimate of memory alone
        return f"a batch of {config.n_ubatch} tokens"
    each = "each " if len(tests) > 1 else ""
    return f"{' and '.join(tests)} tokens, {each}at depth {', '.join(map(str, depths))}{sustained_in_words(config)}"


def _setting(cells: Sequence[CellSummary]) -> str:
    config, contexts = cells[0].config, sorted({cell.config.n_ctx for cell in cells})
    cache = config.type_k if config.type_k == config.type_v else f"{config.type_k}/{config.type_v}"
    parts = [f"context {number_range(contexts)}", f"batch {config.n_batch}/{config.n_ubatch}", f"KV cache {cache}"]
    parts += [f"flash attention {config.flash_attn}", f"load mode {config.load_mode}"]
    parts += [] if config.repack else ["weights not repacked"]
    parts += [] if config.cores is None else [f"on CPUs {', '.join(map(str, config.cores))}"]
    return printable(", ".join(parts))


def threads_in_words(cells: Sequence[CellSummary]) -> str:
    """Return the thread counts, of decode and prefill apart where they differ."""
    decode, prefill = ({getattr(cell.config, name) for cell in cells} for name in ("n_threads", "n_threads_batch"))
    if all(cell.config.n_threads == cell.config.n_threads_batch for cell in cells):
        return _threads(decode)
    return f"{_threads(decode)} in decode, {_threads(prefill)} in prefill"


def cells_in_words(cells: Sequence[CellSummary], most: int) -> str:
    """Return the cells by file and threads, or how many where they are more than `most`."""
    if len(cells) > most:
        return f"{len(cells)} cells"
    return ", ".join(
        f"{cell.artifact.model} {cell.artifact.level} with {_threads({cell.config.n_threads})}" for cell in cells
    )


def _threads(threads: Iterable[int]) -> str:
    ordered = sorted(threads)
    return f"{', '.join(map(str, ordered))} thread{'' if ordered == [1] else 's'}"


def repeats_in_words(cells: Sequence[CellSummary]) -> str:
    """Return over how many rounds the figures are medians."""
    rounds, reps = rounds_and_reps(cells)
    return f"medians over {counted_range(rounds, 'round')} of {counted_range(reps, 'repetition')}"


def rounds_and_reps(cells: Sequence[CellSummary]) -> tuple[list[int], list[int]]:
    """Return the distinct counts of rounds and of repetitions per round, each ascending."""
    return sorted({cell.rounds for cell in cells}), sorted({cell.reps for cell in cells})


def range_in_words(rounds: Sequence[int]) -> str | None:
    """Return what the ends of a bar or bracket are, for cells with these counts of rounds; None without a range."""
    if rounds == [1]:
        return None
    if rounds[0] >= INTERVAL_ROUNDS:
        return "95 % interval of the median"
    if rounds[-1] < INTERVAL_ROUNDS:
        return "smallest and largest round (an interval needs six)"
    return "95 % interval of the median, under six rounds smallest and largest"
