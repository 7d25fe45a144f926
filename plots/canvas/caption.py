"""The words under a chart: what was measured, on what, how often, and what is missing."""

from collections.abc import Iterable, Sequence

from plots.canvas.panels import Panel, models_of
from plots.canvas.text_width import printable
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment
from quant.base.units import format_params

_INTERVAL_ROUNDS = 6
_NAMED = 4  # so many cells are named, of more their number is told
_NAMED_MODELS = 30  # more would be taller than the chart; they stand in the CSV file beside it


def caption(
    panel: Panel,
    cells: Sequence[CellSummary],
    environment: Environment | None,
    *,
    ranges_only: bool = False,
    bars: bool = True,
) -> str:
    """Write one paragraph about the cells that are drawn; `ranges_only` where bars never show an interval.

    `bars` is False where there are none, and the chart says itself what shows the range.
    """
    sizes = {cell.artifact.model: cell.artifact.n_params for cell in cells}
    models = [f"{model} {format_params(sizes[model])}" for model in models_of(cells)]
    if len(models) > _NAMED_MODELS:
        first, last = min(sizes.values()), max(sizes.values())
        span = f"{format_params(first)} to {format_params(last)}"
        parts = [f"{len(models)} models of {span} unique parameters, named in the CSV file beside."]
    else:
        parts = [f"Model{'' if len(models) == 1 else 's'} and unique parameters: {', '.join(models)}."]
    if environment is not None:
        parts.append(_device(cells, environment))
    parts += [_load(cells), f"{_setting(cells)}, {_threads(cells)}."]
    parts.append(_repeats(cells, ranges_only, bars))
    made_up = sorted({printable(cell.artifact.standin_for or "?") for cell in cells if cell.artifact.weights != "real"})
    if made_up:
        named = ", ".join(made_up) if len(models) <= _NAMED_MODELS else f"{len(made_up)} of the models"
        parts.append(f"Synthetic weights in the shape of {named}.")
    parts += _standins(cells)
    parts += _missing(panel, cells)
    flagged = [cell for cell in cells if cell.flags]
    if flagged:
        flags = sorted({flag for cell in flagged for flag in cell.flags})
        parts.append(f"Disturbed: {_listed(flagged)} ({', '.join(flags)}).")
    return " ".join(parts)


def _standins(cells: Sequence[CellSummary]) -> list[str]:
    """Tell which models were measured in another family's shape, as llama.cpp has not theirs."""
    names = sorted(
        {
            f"{printable(file.arch)} for {printable(file.standin_for or '?')} ({printable(file.standin_family)})"
            for file in (cell.artifact for cell in cells)
            if file.standin_family is not None
        }
    )
    if len(names) > _NAMED_MODELS // 3:
        return [f"Stand-ins: {len(names)}, marked."]
    return [f"Stand-in: {', '.join(names)}."] if names else []


def device_of(environment: Environment, backends: Sequence[str] = ()) -> str:
    """Name a board, its processor and its build."""
    board = f"{printable(environment.board)}, " if environment.board else ""
    backends = backends or ["+".join(environment.backends)]
    build = f"llama.cpp {environment.llama_commit}, {', '.join(backends)}, {environment.threading} threads"
    return f"{board}{printable(environment.cpu_model)}, {environment.cores_physical} cores; {printable(build)}"


def _device(cells: Sequence[CellSummary], environment: Environment) -> str:
    label = f", build {printable(cells[0].label)}" if cells[0].label else ""
    return f"{device_of(environment, sorted({cell.backend for cell in cells if cell.backend}))}{label}."


def _load(cells: Sequence[CellSummary]) -> str:
    cell = cells[0]
    depths = ", ".join(map(str, sorted({each.config.n_depth for each in cells})))
    if len({each.config.n_depth for each in cells}) == 1 and cell.config.mode == "request":
        work = f"{cell.config.n_prompt} tokens in, {cell.config.n_gen} out, decode at depth {cell.config.decode_depth}"
    else:
        tests = [
            f"{name} of {n}" for name, n in (("prefill", cell.config.n_prompt), ("decode", cell.config.n_gen)) if n
        ]
        work = f"{' and '.join(tests)} tokens, {'each ' if len(tests) > 1 else ''}at depth {depths}"
    return f"Workload {printable(cell.config.workload)}: {work};"


def _setting(cells: Sequence[CellSummary]) -> str:
    cell, contexts = cells[0], sorted({each.config.n_ctx for each in cells})
    context = str(contexts[0]) if len(contexts) == 1 else f"{contexts[0]} to {contexts[-1]}"
    cache = (
        cell.config.type_k if cell.config.type_k == cell.config.type_v else f"{cell.config.type_k}/{cell.config.type_v}"
    )
    parts = [f"context {context}", f"batch {cell.config.n_batch}/{cell.config.n_ubatch}", f"KV cache {cache}"]
    parts += [f"flash attention {cell.config.flash_attn}", f"load mode {cell.config.load_mode}"]
    parts += [] if cell.config.repack else ["weights not repacked"]
    parts += [] if cell.config.cores is None else [f"on CPUs {', '.join(map(str, cell.config.cores))}"]
    return printable(", ".join(parts))


def _threads(cells: Sequence[CellSummary]) -> str:
    decode, prefill = ({getattr(cell.config, name) for cell in cells} for name in ("n_threads", "n_threads_batch"))
    if all(cell.config.n_threads == cell.config.n_threads_batch for cell in cells):
        return _count(decode)
    return f"{_count(decode)} in decode, {_count(prefill)} in prefill"


def _count(threads: Iterable[int]) -> str:
    ordered = sorted(threads)
    return f"{', '.join(map(str, ordered))} thread{'' if ordered == [1] else 's'}"


def _repeats(cells: Sequence[CellSummary], ranges_only: bool, bars: bool) -> str:
    if cells[0].kind == "estimated":
        return "Estimated, not measured; error bars, where there are any: the range of the estimate."
    rounds, reps = (sorted({getattr(cell, name) for cell in cells}) for name in ("rounds", "reps"))
    if not bars:
        return f"{_span(rounds, 'round').capitalize()} of {_span(reps, 'repetition')}."
    told = f"Medians over {_span(rounds, 'round')} of {_span(reps, 'repetition')}"
    if rounds == [1]:
        return f"{told}: one round has no range."
    if ranges_only:
        return f"{told}; error bars: smallest and largest round."
    if rounds[0] >= _INTERVAL_ROUNDS:
        return f"{told}; error bars: 95 % interval of the median."
    if rounds[-1] < _INTERVAL_ROUNDS:
        return f"{told}; error bars: smallest and largest round (an interval needs six)."
    return f"{told}; error bars: 95 % interval of the median, under six rounds smallest and largest."


def _span(values: Sequence[int], name: str) -> str:
    numbers = str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
    return f"{numbers} {name}{'' if numbers == '1' else 's'}"


def _missing(panel: Panel, cells: Sequence[CellSummary]) -> list[str]:
    """Tell of what the reader would miss: cells without figures, and files that were not measured at these threads."""
    parts = []
    for status in ("failed", "skipped"):
        gone = [cell for cell in panel.lost if cell.status == status]
        if without := [cell for cell in gone if not cell.rounds]:
            parts.append(f"{status.capitalize()}, so not drawn: {_listed(without)}.")
        if some := [cell for cell in gone if cell.rounds]:
            parts.append(f"{status.capitalize()} in some rounds: {_listed(some)}.")
    drawn = {cell.artifact.sha256 for cell in cells}
    others = {cell.artifact.sha256: cell for cell in panel.cells if cell.artifact.sha256 not in drawn}
    if others:
        names = [f"{cell.artifact.model} {cell.artifact.level}" for cell in others.values()]
        listed = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} files"
        parts.append(f"Not drawn for want of such figures: {listed}.")
    return parts


def _listed(cells: Sequence[CellSummary]) -> str:
    if len(cells) > _NAMED:
        return f"{len(cells)} cells"
    return ", ".join(
        f"{cell.artifact.model} {cell.artifact.level} with {_count({cell.config.n_threads})}" for cell in cells
    )


def is_synthetic(cells: Sequence[CellSummary]) -> bool:
    """Tell whether any of the weights were made up."""
    return any(cell.artifact.weights != "real" for cell in cells)


def marks(cells: Sequence[CellSummary]) -> str:
    """Give the line under the title that nobody may overlook; empty where all is measured on real weights."""
    found = ["estimated, not measured"] if cells[0].kind == "estimated" else []
    if is_synthetic(cells):
        found.append(
            "synthetic weights" if all(cell.artifact.weights != "real" for cell in cells) else "some weights synthetic"
        )
    if any(cell.artifact.standin_family is not None for cell in cells):
        every = all(cell.artifact.standin_family is not None for cell in cells)
        found.append("in a stand-in's shape" if every else "some in a stand-in's shape")
    return "; ".join(found)
