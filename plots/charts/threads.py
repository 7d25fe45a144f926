"""Tokens per second against threads, one row of panels per model, one series per level."""

from collections.abc import Mapping, Sequence

from plots.canvas.caption import caption, marks
from plots.canvas.chart_input import Picture, Row, ends, row_of
from plots.canvas.labels import end_labels_fit, end_room, label_ends
from plots.canvas.legend import filling_keys, level_keys
from plots.canvas.panels import Panel, Point, levels_of, models_of, pair_rank, spread
from plots.canvas.series import draw_series, shifts_pt
from plots.canvas.sheet import count_ticks, finish, panel_in, rows_that_fit, sheet
from plots.canvas.style import Look, Style, filling_of, marker_of
from plots.canvas.text_width import shortened
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment

_FIGURES = (("prefill", "prefill_tps", "n_threads_batch"), ("decode", "decode_tps", "n_threads"))


def models_per_figure(_: Panel, style: Style) -> int:
    """Tell how many rows fit."""
    return max(1, rows_that_fit(style, 0.9 * style.panel) // (1 if style.beside > 1 else len(_FIGURES)))


def threads_chart(
    panel: Panel, environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Picture | str:
    """Draw the chart, or say why there is none."""
    present = [each for each in _FIGURES if any(spread(cell, each[1]) for cell in panel.cells)]
    if not present:
        return "no cell has figures"
    if all(len({getattr(cell.config, field) for cell in panel.cells}) < 2 for _, _, field in present):
        return "only one thread count was measured"
    models, levels = models_of(panel.cells), levels_of(panel.cells)
    estimated = panel.cells[0].kind == "estimated"
    figure, axes = sheet(style, len(present), len(models))
    room_in = panel_in(figure, axes[0])
    direct = end_labels_fit(levels, room_in, figure.get_figheight() / (len(axes) / len(present)) * 0.6, style)
    rows: list[Row] = []
    last: list[dict[str, tuple[float, float]]] = []
    for place, axis in enumerate(axes):
        model, (label, name, field) = models[place // len(present)], present[place % len(present)]
        cells = [cell for cell in panel.cells if cell.artifact.model == model]
        chosen = {
            level: _chosen([cell for cell in cells if cell.artifact.level == level], field, name) for level in levels
        }
        series_of = {level: {count: point for count, (_, point) in found.items()} for level, found in chosen.items()}
        counts = sorted({count for series in series_of.values() for count in series})
        last.append({level: (max(found), found[max(found)][0]) for level, found in series_of.items() if found})
        if not counts:
            axis.set_visible(False)
            continue
        shifts = shifts_pt(len(levels), counts, room_in, style)
        for (level, series), shift in zip(series_of.items(), shifts, strict=True):
            if series:
                marker, filling = marker_of(cells[0].artifact.arch), filling_of(cells[0])
                draw_series(axis, list(series), list(series.values()), look_of[level], level, estimated=estimated,
                            shift_pt=shift, marker=marker, filling=filling)  # fmt: skip
        rows += [
            row_of(cell, phase=label, threads=count, **ends("tokens_per_s", point))
            for found in chosen.values()
            for count, (cell, point) in found.items()
        ]
        fewest = max(series[counts[0]][0] for series in series_of.values() if counts[0] in series)
        if len(counts) > 1:
            ideal = [fewest * count / counts[0] for count in (counts[0], counts[-1])]
            axis.plot([counts[0], counts[-1]], ideal, color="#777777", lw=0.8 * style.line, ls=":", marker="", zorder=1)
        axis.set_ylim(0, max(point[2] for series in series_of.values() for point in series.values()) * 1.12)
        axis.margins(x=0.08)
        if direct:
            low, high = axis.get_xlim()
            share = end_room(levels, room_in, style)
            axis.set_xlim(low, high + (high - low) * share / (1 - share))
        count_ticks(axis.xaxis, counts, room_in, style.font)
        axis.set_xlabel("threads")
        axis.set_ylabel(f"{label}, tokens/s")
        if place % len(present) == 0:
            axis.set_title(shortened(model, 0.8 * figure.get_figwidth(), style.font), loc="left")
    words = "Dotted: the fastest level at the fewest threads, scaled by the threads. "
    if len(models) > 1:
        words += "Scales differ between models. "
    finish(
        figure,
        style,
        title="Speed against threads",
        subtitle=marks(panel.cells),
        words=words + caption(panel, panel.cells, environment),
        handles=[*([] if direct else level_keys(panel.cells, look_of)), *filling_keys(panel.cells)],
    )
    if direct:
        for axis, found in zip(axes, last, strict=True):
            if found:
                label_ends(axis, found, style)
    return Picture(figure, rows)


def _chosen(cells: Sequence[CellSummary], field: str, name: str) -> dict[int, tuple[CellSummary, Point]]:
    """Give one level's cells and points by thread count.

    Prefill does not depend on decode's threads, nor decode on prefill's. Of several cells of one count the one with
    both counts equal is taken, not the fastest, which would be the luckiest.
    """
    chosen: dict[int, tuple[CellSummary, Point]] = {}
    for cell in sorted(cells, key=pair_rank):
        point = spread(cell, name)
        if point is not None:
            chosen[getattr(cell.config, field)] = (cell, point)
    return dict(sorted(chosen.items()))
