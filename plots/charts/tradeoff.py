"""What each level costs and brings, by model: memory against speed, and against KLD where it was measured."""

from matplotlib.axes import Axes

from plots.canvas.chart_input import Picture, Row, ends, row_of
from plots.canvas.figures import decode_tps, ends_of, kld_of, levels_to_compare, peak_mib
from plots.canvas.frame import Frame, frame
from plots.canvas.labels import boxes, name_points
from plots.canvas.legend import filling_keys, level_keys
from plots.canvas.panels import Panel, models_of
from plots.canvas.series import Mark, draw_levels
from plots.canvas.sheet import grid, name_panel, rows_that_fit
from plots.canvas.style import Style
from plots.canvas.theme import Theme

_SPEED = (decode_tps, "decode, tokens/s")
_LOSS = (kld_of, "KLD, nats")


def models_per_figure(panel: Panel, style: Style) -> int:
    """Return how many models' panels fit."""
    rows = rows_that_fit(style, 0.85 * style.panel)
    if any(kld_of(cell) for cell in panel.cells):
        return max(1, rows // (1 if style.most_columns > 1 else 2))
    return rows * min(3, style.most_columns)


def tradeoff_chart(panel: Panel, theme: Theme) -> Picture | str:
    """Draw the chart, or return why there is none."""
    cells = levels_to_compare(panel)
    if isinstance(cells, str):
        return cells
    with_loss = any(kld_of(cell) for cell in cells)
    shown = (_SPEED, _LOSS) if with_loss else (_SPEED,)
    panels = [(model, *each) for model in models_of(cells) for each in shown]
    figure, axes = grid(theme.style, len(panels), 2 if with_loss else 3)
    drawn: list[tuple[Axes, list[Mark]]] = []
    rows: list[Row] = []
    for axis, (model, value_of, label) in zip(axes, panels, strict=True):
        marks = [
            Mark(cell, memory.value, value, memory)
            for cell in cells
            if cell.artifact.model == model and (memory := peak_mib(cell)) and (value := value_of(cell))
        ]
        if not marks:
            axis.set_visible(False)
            continue
        draw_levels(axis, marks, theme)
        axis.set_xlim(0, max(ends_of(each.across for each in marks if each.across)) * 1.25)
        axis.set_ylim(0, max(ends_of(each.point for each in marks)) * 1.2)
        axis.set_xlabel("peak memory, MiB")
        axis.set_ylabel(label)
        drawn.append((axis, marks))
        if value_of is decode_tps:
            name_panel(axis, model, theme.style)
            rows += [
                row_of(each.cell, **ends("decode_tps", each.point), **ends("peak_mib", each.across),
                       **ends("kld", kld_of(each.cell)))
                for each in marks
            ]  # fmt: skip
    notes = "Up and left is better."
    if with_loss:
        notes = "Speed: up and left is better. KLD (bars: two standard errors): down and left."
    if len(drawn) > 1:
        notes += " Scales differ between panels."
    own = Frame(
        title="What each level costs and brings",
        notes=notes,
        handles=[*level_keys(cells, theme, lines=False), *filling_keys(cells)],
    )
    frame(figure, theme, panel, cells, own)
    for axis, marks in drawn:
        _name_levels(axis, marks, theme.style)
    return Picture(figure, rows)


def _name_levels(axis: Axes, marks: list[Mark], style: Style) -> None:
    figure = axis.figure
    assert figure is not None
    half = 0.25 * style.font * figure.dpi / 72
    bars = [(each.x, end) for each in marks for end in ends_of([each.point])]
    bars += [(end, each.point.value) for each in marks if each.across for end in ends_of([each.across])]
    taken = boxes(axis.transData.transform(bars), half, per_piece=1)
    points = {each.cell.artifact.level: [(each.x, each.point.value)] for each in marks}
    name_points(figure, axis, points.items(), style, taken=taken)  # type: ignore[arg-type]
