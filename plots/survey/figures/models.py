"""Figure 7: prefill, first token, decode and memory against unique parameters, over the published values."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plots.canvas.chart_input import Picture, Row, ends
from plots.canvas.figures import MILLION, ends_of
from plots.canvas.labels import NEAR, boxes, name_points
from plots.canvas.series import error_bars, mark
from plots.canvas.sheet import finish, grid, log_axis
from plots.canvas.style import Marker, Style, markers_of
from plots.survey.published import DEVICE, N_PROMPT, SOURCE, PublishedModel, published_models
from plots.survey.records import Point
from plots.survey.words import name_of
from profiler.records.span import Span

FAINT = "#B4B4B4"
COLOUR = "#3C76F8"
KINDS = {"measured": "full", "predicted": "hollow"}
_AROUND = 1.6
_PANEL_EM = 27  # height of a panel, in font sizes: names need room
_PANELS: tuple[tuple[str, str, Callable[[Point], Span | None], Callable[[PublishedModel], float]], ...] = (
    (
        "prefill_ms_per_token",
        "prefill, ms per token",
        lambda each: each.prefill_ms,
        lambda its: its.ttft_ms / N_PROMPT,
    ),
    ("ttft_ms", "time to first token, ms", lambda each: each.ttft_ms, lambda its: its.ttft_ms),
    ("decode_ms_per_token", "decode, ms per token", lambda each: each.decode_ms, lambda its: its.decode_ms),
    ("memory_mib", "memory, MiB", lambda each: each.memory_mib, lambda its: its.memory_mib),
)


def models_chart(points: Sequence[Point], words: str, style: Style) -> Picture | str:
    """Draw the figure, or return why there is none."""
    present = [panel for panel in _PANELS if any(panel[2](each) for each in points)]
    if not present:
        return "no model has figures"
    figure, axes = grid(style, len(present), 2, panel=_PANEL_EM * style.font / 72)
    markers = markers_of(each.arch for each in points)
    for axis, (_, label, of, theirs) in zip(axes, present, strict=True):
        _draw(axis, points, of, theirs, markers, style)
        axis.set_title(label, loc="left")
        axis.set_xlabel("unique parameters, million")
    finish(
        figure,
        style,
        title="Latency and memory against model size",
        subtitle="synthetic weights",
        words=f"{kinds_in_words(points)} Grey: published for one {DEVICE}, 4-bit, llama.cpp on its GPU, at the unique "
        f"parameters of each model ({SOURCE}, figure 7; prefill is its first token by 50). {words}",
        handles=[*family_keys(points, markers), *kind_keys(points), *published_keys(points)],
    )
    for axis, (_, _, of, theirs) in zip(axes, present, strict=True):
        _name(axis, points, of, theirs, style)
    return Picture(figure, [*_rows(points, present)])


def _draw(
    axis: Axes,
    points: Sequence[Point],
    of: Callable[[Point], Span | None],
    theirs: Callable[[PublishedModel], float],
    markers: dict[str, Marker],
    style: Style,
) -> None:
    behind = _published(points, theirs)
    if behind:
        axis.plot(*zip(*behind, strict=True), linestyle="none", marker=".", color=FAINT, markersize=0.6 * style.font,
                  zorder=1, label="published")  # fmt: skip
    shown = [(each, span) for each in points if (span := of(each)) is not None]
    for each, span in shown:
        draw_point(axis, (each.n_params / MILLION, span), each, markers[each.arch])
    seen = [*ends_of(span for _, span in shown), *(y for _, y in behind)]
    sizes = [each.n_params / MILLION for each, _ in shown]
    log_axis(axis, "x", min(sizes) / _AROUND, max(sizes) * _AROUND)
    log_axis(axis, "y", min(seen) / 1.25, max(seen) * 1.25)


def _published(points: Sequence[Point], theirs: Callable[[PublishedModel], float]) -> list[tuple[float, float]]:
    return [
        (each.n_params / MILLION, theirs(published_models()[each.model]))
        for each in points
        if each.model in published_models()
    ]


def draw_point(axis: Axes, place: tuple[float, Span], point: Point, marker: Marker, colour: str = COLOUR) -> None:
    """Draw one point with its range: full where it was measured, hollow where it was predicted."""
    x, span = place
    drawn = axis.errorbar(
        [x], [span.value], yerr=error_bars([span]) if span.lo < span.hi else None, color=colour, linestyle="none",
        elinewidth=0.8, capthick=0.8, label=point.kind, alpha=1.0 if point.is_measured else 0.8, zorder=3,
    )  # fmt: skip
    drawn.lines[0].set(**mark(colour, marker, KINDS[point.kind]))


def _name(
    axis: Axes,
    points: Sequence[Point],
    of: Callable[[Point], Span | None],
    theirs: Callable[[PublishedModel], float],
    style: Style,
) -> None:
    """Name the measured models first: names that do not fit are left out, and so is one over a published value."""
    figure = axis.figure
    assert isinstance(figure, Figure)
    behind = _published(points, theirs)
    half = 0.35 * style.font * figure.dpi / 72
    shown = sorted(
        ((each, span) for each in points if (span := of(each)) is not None), key=lambda each: not each[0].is_measured
    )
    name_points(
        figure,
        axis,
        [(name_of(each.model), [(each.n_params / MILLION, span.value)]) for each, span in shown],
        style,
        places=NEAR,
        taken=boxes(axis.transData.transform(behind), half, per_piece=1) if behind else (),
    )


def _rows(
    points: Sequence[Point], present: Sequence[tuple[str, str, Callable[[Point], Span | None], object]]
) -> list[Row]:
    own: list[Row] = [
        {
            **row_of_point(each),
            **{key: value for name, _, of, _ in present for key, value in ends(name, of(each)).items()},
        }
        for each in points
    ]
    sizes = {each.model: each.n_params for each in points}
    theirs: list[Row] = [
        {
            "model": name,
            "kind": "published",
            "n_params": sizes[name],
            "ttft_ms": each.ttft_ms,
            "decode_ms_per_token": each.decode_ms,
            "memory_mib": each.memory_mib,
            "source": f"{SOURCE}, figure 7, {DEVICE}",
        }
        for name, each in published_models().items()
        if name in sizes
    ]
    return [*own, *theirs]


def row_of_point(point: Point) -> Row:
    """Begin a mark's row in a CSV file with what identifies it."""
    return {
        "model": point.model,
        "arch": point.arch,
        "kind": point.kind,
        "n_params": point.n_params,
        "quant": point.level,
        "rounds": point.n_rounds,
    }


def family_keys(points: Sequence[Point], markers: dict[str, Marker]) -> list[Line2D]:
    """Return the legend's entries of the families."""
    arches = sorted({each.arch for each in points})
    return [
        Line2D([], [], linestyle="none", color=COLOUR, label=arch, **mark(COLOUR, markers[arch], "full"))
        for arch in arches
    ]


def kind_keys(points: Sequence[Point]) -> list[Line2D]:
    """Return the legend's entries of what was measured and what was predicted."""
    kinds = {each.kind for each in points}
    return [
        Line2D([], [], linestyle="none", color="#555555", label=kind, **mark("#555555", "o", filling))
        for kind, filling in KINDS.items()
        if kind in kinds
    ]


def published_keys(points: Sequence[Point]) -> list[Line2D]:
    """Return the legend's entry of the faint layer; none where none of these models was published."""
    if not any(each.model in published_models() for each in points):
        return []
    return [published_key()]


def published_key() -> Line2D:
    """Return the legend's entry of the faint layer."""
    return Line2D([], [], linestyle="none", marker=".", color=FAINT, label=f"published, {DEVICE}")


def kinds_in_words(points: Sequence[Point]) -> str:
    """Return what the bars are, of measurements and of predictions."""
    parts = []
    if any(each.is_measured for each in points):
        parts.append("Full: measured; bars: 95 % interval of the median, under six rounds smallest and largest.")
    if any(not each.is_measured for each in points):
        parts.append("Hollow: predicted; bars: 90 % range of speeds, 4 % of memory.")
    return " ".join(parts)
