"""Figure 9: one model's load without a pause, in the chart of sustained loads. Nothing published is beside it."""

from plots.canvas.chart_input import ChartInput, Picture
from plots.canvas.style import Style, looks, markers_of
from plots.canvas.theme import Theme
from plots.charts.sustained import sustained_charts


def sustained_chart(inputs: ChartInput | None, style: Style) -> Picture | str:
    """Return the chart of the load, or why there is none."""
    if inputs is None:
        return "no load was sustained"
    theme = Theme(
        style=style,
        looks=looks(inputs.cells),
        markers=markers_of(cell.artifact.arch for cell in inputs.cells),
        environments=inputs.environments,
    )
    _, made = next(sustained_charts(inputs, theme))
    return made
