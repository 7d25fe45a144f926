"""What each level costs and gives, model by model: memory against speed, and against the loss where it was measured."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from plots.canvas.caption import caption, marks
from plots.canvas.chart_input import Picture, Row, ends, row_of
from plots.canvas.labels import boxes, name_points
from plots.canvas.legend import filling_keys, level_keys
from plots.canvas.panels import Panel, Point, at_common_threads, levels_of, models_of, quality_of, spread
from plots.canvas.series import draw_levels
from plots.canvas.sheet import finish, rows_that_fit, sheet
from plots.canvas.style import Look, Style
from plots.canvas.text_width import shortened
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment

_MIB = 1 << 20


def models_per_figure(panel: Panel, style: Style) -> int:
    """Tell how many models' panels fit."""
    rows = rows_that_fit(style, 0.85 * style.panel)
    if any(quality_of(cell) for cell in panel.cells):
        return max(1, rows // (1 if style.beside > 1 else 2))
    return rows * min(3, style.beside)


def memory_of(cell: CellSummary) -> Point | None:
    """Give the peak in MiB with its range."""
    point = spread(cell, "model_rss_bytes")
    return (point[0] / _MIB, point[1] / _MIB, point[2] / _MIB) if point else None


def tradeoff_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Picture | str:
    """Draw the chart, or say why there is none."""
    usable = [cell for cell in panel.cells if memory_of(cell) and spread(cell, "decode_tps")]
    if not usable:
        return "no cell has both decode and memory"
    cells = at_common_threads(usable)
    if len(levels_of(cells)) < 2:
        return "only one level was measured"
    models = models_of(cells)
    with_quality = any(quality_of(cell) for cell in cells)
    per_model = 2 if with_quality else 1
    columns = 2 if with_quality else min(3, style.beside, len(models))
    figure, axes = sheet(style, columns, -(-len(models) * per_model // columns))
    for axis in axes[len(models) * per_model :]:
        axis.set_visible(False)
    named: list[tuple[Axes, list[tuple[CellSummary, Point, Point]]]] = []
    rows: list[Row] = []
    for place, axis in enumerate(axes[: len(models) * per_model]):
        own = [cell for cell in cells if cell.artifact.model == models[place // per_model]]
        value_of = quality_of if place % per_model else _decode
        found = [(cell, memory, value) for cell in own if (memory := memory_of(cell)) and (value := value_of(cell))]
        if not found:
            axis.set_visible(False)
            continue
        draw_levels(
            axis,
            [(cell, memory[0], value) for cell, memory, value in found],
            look_of,
            across={cell.cell_key: memory for cell, memory, _ in found},
        )
        axis.set_xlim(0, max(memory[2] for _, memory, _ in found) * 1.25)
        axis.set_ylim(0, max(value[2] for _, _, value in found) * 1.2)
        axis.set_xlabel("peak memory, MiB")
        axis.set_ylabel("Kullback-Leibler divergence" if place % per_model else "decode, tokens/s")
        if place % per_model == 0:
            width = figure.get_figwidth() / (1 if style.beside == 1 else columns)
            axis.set_title(shortened(own[0].artifact.model, 0.75 * width, style.font), loc="left")
            rows += [
                row_of(cell, **ends("decode_tps", value), **ends("peak_mib", memory), **ends("kld", quality_of(cell)))
                for cell, memory, value in found
            ]
        named.append((axis, found))
    words = (
        "Up and left is better."
        if not with_quality
        else "Speed: up and left is better. Divergence (bars: two standard errors): down and left."
    )
    words += " Scales differ between panels. " if len(named) > 1 else " "
    finish(
        figure,
        style,
        title="What each level costs and gives",
        subtitle=marks(cells),
        words=words + caption(panel, cells, environment),
        handles=[*level_keys(cells, look_of, lines=False), *filling_keys(cells)],
    )
    for axis, found in named:
        _name_levels(axis, found, style)
    return Picture(figure, rows)


def _decode(cell: CellSummary) -> Point | None:
    return spread(cell, "decode_tps")


def _name_levels(axis: Axes, found: Sequence[tuple[CellSummary, Point, Point]], style: Style) -> None:
    figure = axis.figure
    assert figure is not None
    half = 0.25 * style.font * figure.dpi / 72
    bars = [
        (x, end) for _, memory, value in found for x in memory for end in value if x == memory[0] or end == value[0]
    ]
    taken = boxes(axis.transData.transform(bars), half, joined=False)
    points = {cell.artifact.level: [(memory[0], value[0])] for cell, memory, value in found}
    name_points(figure, axis, points.items(), style, taken=taken)  # type: ignore[arg-type]
