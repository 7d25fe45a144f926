"""Memory against level, stacked by part, with the measured total as a mark: the parts must add up to it."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from plots.caption import caption, is_synthetic, threads_words
from plots.load import Panel, at_common_threads, levels_of, models_of
from plots.sheet import finish, sheet
from plots.style import COLOURS, HATCHES, Look, Style
from profiler.record import Environment
from profiler.summary import CellSummary

_MIB = 1 << 20
PARTS = ("weights", "repacked weights", "KV cache", "compute buffer", "rest")
MAX_MODELS = 6


def parts_of(cell: CellSummary) -> dict[str, float] | None:
    """Split a cell's measured peak (less the process before the model) into MiB; None without the figures.

    "rest" is what llama.cpp does not tell of: vocabulary, graph, allocator. Where the parts told exceed the measured
    total (mapped weights that were not all touched), the weights are cut to what was resident, and rest is 0.
    """
    if cell.model_rss_bytes is None or cell.weights_bytes is None:
        return None
    told = {
        "weights": cell.weights_bytes,
        "repacked weights": cell.repacked_bytes or 0,
        "KV cache": cell.kv_cache_bytes or 0,
        "compute buffer": cell.compute_buffer_bytes or 0,
    }
    over = sum(told.values()) - cell.model_rss_bytes
    if over > 0:
        told["weights"] = max(0, told["weights"] - over)
    rest = max(0, cell.model_rss_bytes - sum(told.values()))
    return {name: value / _MIB for name, value in {**told, "rest": rest}.items()}


def memory_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Figure | str:
    """Draw the chart, or say why there is none."""
    with_parts = [cell for cell in panel.cells if parts_of(cell)]
    if not with_parts:
        return "the memory's parts are not known"
    cells, threads = at_common_threads(with_parts)
    models = models_of(cells)[:MAX_MODELS]
    shown = [cell for cell in cells if cell.model in models]
    figure, axes = sheet(style, min(len(models), 3), -(-len(models) // 3))
    handles: list[object] = []
    cut = 0.0
    for axis, model in zip(axes, models, strict=False):
        by_level = {cell.quant: cell for cell in shown if cell.model == model}
        levels = [level for level in levels_of(shown) if level in by_level]
        bottoms = [0.0] * len(levels)
        for place, part in enumerate(PARTS):
            heights = [(parts_of(by_level[level]) or {})[part] for level in levels]
            drawn = axis.bar(
                range(len(levels)),
                heights,
                bottom=bottoms,
                width=0.62,
                color="#BBBBBB" if part == "rest" else COLOURS[place],
                hatch=HATCHES[place],
                edgecolor="white",
                linewidth=0.4,
                label=part,
            )
            bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
            if axis is axes[0] and any((parts_of(cell) or {})[part] for cell in shown):
                handles.append(drawn)
        totals = [(by_level[level].model_rss_bytes or 0) / _MIB for level in levels]
        (mark,) = axis.plot(range(len(levels)), totals, "k_", markersize=14, label="measured peak")
        if axis is axes[0]:
            handles.append(mark)
        for place, total in enumerate(totals):
            axis.annotate(f"{total:.0f}", (place, total), textcoords="offset points", xytext=(0, 3), ha="center",
                          fontsize=style.font - 1)  # fmt: skip
        cut = max(cut, *(_over(by_level[level]) for level in levels))
        axis.set_xticks(range(len(levels)), levels, rotation=0 if len(levels) < 5 else 35)
        axis.set_ylim(0, max(totals) * 1.15)
        axis.set_ylabel("resident memory, MiB")
        axis.grid(visible=False, axis="x")
        axis.set_title(model, loc="left")
    for axis in axes[len(models) :]:
        axis.set_visible(False)
    note = f" Up to {cut:.0f} MiB of mapped weights were not resident." if cut >= 1 else ""
    finish(
        figure,
        style,
        title="Memory by part",
        subtitle="synthetic weights" if is_synthetic(shown) else "",
        words="Peak resident size less the process before the model was opened; rest: what llama.cpp does not tell of."
        f"{note} {caption(panel, shown, environment, threads_words(threads))}",
        handles=handles,
    )
    return figure


def _over(cell: CellSummary) -> float:
    told = sum(
        value or 0
        for value in (cell.weights_bytes, cell.repacked_bytes, cell.kv_cache_bytes, cell.compute_buffer_bytes)
    )
    return max(0.0, (told - (cell.model_rss_bytes or 0)) / _MIB)
