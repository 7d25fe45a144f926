"""Figure 8: prefill and decode by quantization level, over the published values."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes

from plots.canvas.chart_input import Picture, Row, ends
from plots.canvas.figures import ends_of
from plots.canvas.series import error_bars, mark
from plots.canvas.sheet import finish, sheet, value_axis
from plots.canvas.style import LEVEL_COLOURS, Style
from plots.survey.figures.models import (
    COLOUR,
    FAINT,
    KINDS,
    kind_keys,
    kinds_in_words,
    published_key,
    row_of_point,
)
from plots.survey.published import DEVICE, LEVELS_MODEL, N_PROMPT, SOURCE, PublishedLevel, published_levels
from plots.survey.records import Point
from plots.survey.words import name_of
from profiler.records.span import Span

_PANELS: tuple[tuple[str, str, Callable[[Point], Span | None], Callable[[PublishedLevel], float]], ...] = (
    (
        "prefill_ms_per_token",
        "prefill, ms per token",
        lambda each: each.prefill_ms,
        lambda its: its.prefill_ms / N_PROMPT,
    ),
    ("decode_ms_per_token", "decode, ms per token", lambda each: each.decode_ms, lambda its: its.decode_ms),
)


def levels_chart(levels: Sequence[Point], words: str, style: Style) -> Picture | str:
    """Draw the figure, or return why there is none."""
    names = [name for name in published_levels() if any(each.level == name and each.decode_ms for each in levels)]
    if not names:
        return "no level has speeds"
    names.sort(key=lambda name: list(LEVEL_COLOURS).index(name))
    figure, axes = sheet(style, len(_PANELS), panel=(1.9 * len(names) + 4.5) * style.font / 72)
    for axis, (_, label, of, theirs) in zip(axes, _PANELS, strict=True):
        _draw(axis, [each for each in levels if each.level in names], names, of, theirs, style)
        axis.set_xlabel(label)
    finish(
        figure,
        style,
        title=f"Latency by level of {name_of(levels[0].model)}",
        subtitle="synthetic weights",
        words=f"Left is faster. {kinds_in_words(levels)} Grey: published for {LEVELS_MODEL} on one {DEVICE} at 50 "
        f"tokens ({SOURCE}, figure 8). {words}",
        handles=[*kind_keys(levels), published_key()],
    )
    return Picture(figure, _rows(levels))


def _draw(
    axis: Axes,
    levels: Sequence[Point],
    names: Sequence[str],
    of: Callable[[Point], Span | None],
    theirs: Callable[[PublishedLevel], float],
    style: Style,
) -> None:
    behind = [theirs(published_levels()[name]) for name in names]
    faint: dict[str, Any] = {"marker": ".", "color": FAINT, "markersize": 0.8 * style.font, "label": "published"}
    axis.plot(behind, range(len(names)), linestyle="none", zorder=1, **faint)
    shown = [(each, span) for each in levels if (span := of(each)) is not None]
    for each, span in shown:
        colour = LEVEL_COLOURS.get(each.level, COLOUR)
        drawn = axis.errorbar(
            [span.value],
            [names.index(each.level)],
            xerr=error_bars([span]) if span.lo < span.hi else None,
            color=colour,
            linestyle="none",
            elinewidth=0.8,
            capthick=0.8,
            label=each.level,
            zorder=3,
        )
        drawn.lines[0].set(**mark(colour, "o", KINDS[each.kind]))
    value_axis(axis, "x", [*ends_of(span for _, span in shown), *behind])
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)


def _rows(levels: Sequence[Point]) -> list[Row]:
    own: list[Row] = [
        {
            **row_of_point(each),
            **{key: value for name, _, of, _ in _PANELS for key, value in ends(name, of(each)).items()},
        }
        for each in levels
    ]
    theirs: list[Row] = [
        {
            "model": LEVELS_MODEL,
            "kind": "published",
            "quant": each.level,
            "prefill_ms_per_token": each.prefill_ms / N_PROMPT,
            "decode_ms_per_token": each.decode_ms,
            "source": f"{SOURCE}, figure 8, {DEVICE}",
        }
        for each in published_levels().values()
    ]
    return [*own, *theirs]
