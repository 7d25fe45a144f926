"""Figure 11: memory by part of every model over the published parts, and by the size of the context."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from plots.canvas.chart_input import Picture, Row
from plots.canvas.sheet import finish, grid, name_panel, sheet
from plots.canvas.style import Style
from plots.charts.memory import PARTS
from plots.survey.figures.models import FAINT, row_of_point
from plots.survey.published import DEVICE, SOURCE, published_memory
from plots.survey.records import AtContext, Point
from plots.survey.words import name_of

_FAINT = 0.35  # opacity of the published parts


def parts_chart(points: Sequence[Point], words: str, style: Style) -> Picture | str:
    """Draw the memory of each model by part, or return why there is none."""
    shown = [each for each in points if each.parts_mib]
    if not shown:
        return "no model's parts are known"
    figure, (axis,) = sheet(style, 1, panel=(2.3 * len(shown) + 4) * style.font / 72)
    for row, each in enumerate(shown):
        _stack(axis, row - 0.17, each.parts_mib, 0.36, is_measured=each.is_measured)
        _stack(axis, row + 0.22, published_memory().get(each.model, {}), 0.24, alpha=_FAINT)
    axis.set_yticks(range(len(shown)), [name_of(each.model) for each in shown])
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.set_xlabel("memory, MiB")
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    parts = [part for part in PARTS if any(each.parts_mib.get(part, 0) >= 1 for each in shown)]
    finish(
        figure,
        style,
        title="Memory by part",
        subtitle="synthetic weights",
        words="Full: measured; hollow, hatched: estimated. Thin and faint: published for one "
        f"{DEVICE} with the compute buffer of a batch of 512 tokens, whose remainder is its other memory ({SOURCE}, "
        f"figure 11). {words}",
        handles=[*(Patch(label=part, **_fill(part, is_measured=True)) for part in parts),
                 Patch(color=FAINT, label="published, faint")],
    )  # fmt: skip
    return Picture(figure, _part_rows(shown))


def contexts_chart(contexts: Sequence[AtContext], words: str, style: Style) -> Picture | str:
    """Draw the estimated memory of some models by context, or return why there is none."""
    groups = {model: list(found) for model, found in groupby(contexts, lambda each: each.model)}
    if not groups:
        return "no model's memory was estimated"
    n_rows = max(map(len, groups.values()))
    figure, axes = grid(style, len(groups), 2, panel=(1.9 * n_rows + 5) * style.font / 72)
    most = max(sum(each.parts_mib.values()) for each in contexts)
    for axis, (model, found) in zip(axes, groups.items(), strict=True):
        for row, each in enumerate(found):
            _stack(axis, row, each.parts_mib, 0.6, is_measured=False)
        axis.set_yticks(range(len(found)), [str(each.n_ctx) for each in found])
        axis.set_ylim(n_rows - 0.4, -0.6)
        axis.set_xlim(0, most * 1.05)
        axis.set_xlabel("memory, MiB")
        axis.set_ylabel("context, tokens")
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", length=0)
        name_panel(axis, name_of(model), style)
    finish(
        figure,
        style,
        title="Memory by size of the context",
        subtitle="estimated, not measured",
        words=f"A full KV cache of f16, whose size depends on layers and KV heads, not on parameters. {words}",
        handles=[Patch(label=part, **_fill(part, is_measured=False)) for part in PARTS
                 if any(each.parts_mib.get(part, 0) >= 1 for each in contexts)],
    )  # fmt: skip
    rows: list[Row] = [
        {"model": each.model, "kind": "predicted", "n_ctx": each.n_ctx, **_columns(each.parts_mib)} for each in contexts
    ]
    return Picture(figure, rows)


def _stack(
    axis: Axes,
    place: float,
    parts: dict[str, float] | Any,
    height: float,
    *,
    is_measured: bool = True,
    alpha: float = 1.0,
) -> None:
    start = 0.0
    for part, length in ((part, parts.get(part, 0.0)) for part in PARTS):
        if length > 0:
            axis.barh([place], [length], left=start, height=height, alpha=alpha, label=part,
                      **_fill(part, is_measured=is_measured))  # fmt: skip
            start += length


def _fill(part: str, *, is_measured: bool) -> dict[str, Any]:
    colour, hatch = PARTS[part]
    if not is_measured:
        return {"facecolor": "white", "edgecolor": colour, "hatch": hatch, "linewidth": 0.8}
    return {"facecolor": colour, "edgecolor": "white", "hatch": hatch, "linewidth": 0.4}


def _part_rows(points: Sequence[Point]) -> list[Row]:
    own: list[Row] = [{**row_of_point(each), **_columns(each.parts_mib)} for each in points]
    theirs: list[Row] = [
        {"model": each.model, "kind": "published", "n_params": each.n_params,
         **_columns(dict(published_memory()[each.model])), "source": f"{SOURCE}, figure 11, {DEVICE}"}
        for each in points if each.model in published_memory()
    ]  # fmt: skip
    return [*own, *theirs]


def _columns(parts: dict[str, float]) -> Row:
    return {f"{part.replace(' ', '_')}_mib": value for part, value in parts.items()}
