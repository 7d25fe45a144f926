"""Speed against how many tokens are in the cache already: a long conversation is slower than a short one."""

from collections.abc import Iterator, Mapping, Sequence

from plots.canvas.caption import caption, marks
from plots.canvas.chart_input import Picture, Row, Study, ends, row_of
from plots.canvas.labels import end_labels_fit, end_room, label_ends
from plots.canvas.legend import filling_keys, level_keys
from plots.canvas.panels import Panel, at_common_threads, levels_of, load_name, models_of, setting_of, spread
from plots.canvas.series import draw_series, shifts_pt
from plots.canvas.sheet import count_ticks, finish, panel_in, rows_that_fit, sheet
from plots.canvas.style import Look, Style, filling_of, marker_of
from plots.canvas.text_width import shortened
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment

# Its context grows with the depth, so that is no other setting.
_FREE = ("n_depth", "n_ctx")
_FIGURES = (("prefill", "prefill_tps", "n_depth"), ("decode", "decode_tps", "decode_depth"))


def depth_charts(study: Study, style: Style, look_of: Mapping[str, Look]) -> Iterator[tuple[str, Picture | str]]:
    """Draw a chart for each setting that was measured at several depths."""
    groups: dict[tuple[object, ...], list[CellSummary]] = {}
    for cell in study.cells:
        if cell.rounds and (cell.prefill_tps or cell.decode_tps):
            groups.setdefault(setting_of(cell, _FREE), []).append(cell)
    deep = [cells for cells in groups.values() if len({cell.config.n_depth for cell in cells}) > 1]
    if not deep:
        yield "", "every load was measured at one depth only; give several with -d"
    several = len({cells[0].env_id for cells in deep}) > 1
    names: dict[str, int] = {}
    for cells in deep:
        name = load_name(cells[0]).rpartition("-d")[0] if cells[0].config.workload == "custom" else load_name(cells[0])
        name += f"-{cells[0].env_id}" if several else ""
        names[name] = names.get(name, 0) + 1
        name += f"-{names[name]}" if names[name] > 1 else ""
        chosen = _of_one_thread_count(cells)
        models = models_of(chosen)
        most = max(1, rows_that_fit(style, 0.9 * style.panel) // (1 if style.beside > 1 else 2))
        for first in range(0, len(models), most):
            part = [cell for cell in chosen if cell.artifact.model in models[first : first + most]]
            page = name if first == 0 else f"{name}-page{first // most + 1}"
            yield page, _chart(part, study.environments.get(part[0].env_id), style, look_of)


def _depths(cells: Sequence[CellSummary]) -> list[int]:
    return sorted({cell.config.n_depth for cell in cells})


def _of_one_thread_count(cells: Sequence[CellSummary]) -> list[CellSummary]:
    """Choose one thread count for all depths: a line is to show what depth does, and nothing else."""
    places: dict[int, set[tuple[str, int]]] = {}
    for cell in cells:
        places.setdefault(cell.config.n_threads, set()).add((cell.artifact.sha256, cell.config.n_depth))
    threads = max(places, key=lambda n: (len(places[n]), n))
    alike = [cell for cell in cells if cell.config.n_threads == threads]
    return [each for depth in _depths(alike) for each in at_common_threads(_at(alike, depth))]


def _at(cells: Sequence[CellSummary], depth: int) -> list[CellSummary]:
    return [cell for cell in cells if cell.config.n_depth == depth]


def _chart(
    cells: Sequence[CellSummary], environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Picture:
    models, levels = models_of(cells), levels_of(cells)
    estimated = cells[0].kind == "estimated"
    present = [each for each in _FIGURES if any(spread(cell, each[1]) for cell in cells)]
    figure, axes = sheet(style, len(present), len(models))
    room_in = panel_in(figure, axes[0])
    direct = end_labels_fit(levels, room_in, 0.6 * style.panel, style)
    rows: list[Row] = []
    last: list[dict[str, tuple[float, float]]] = []
    for place, axis in enumerate(axes):
        model, (label, name, field) = models[place // len(present)], present[place % len(present)]
        own = [cell for cell in cells if cell.artifact.model == model and spread(cell, name)]
        last.append({})
        if not own:
            axis.set_visible(False)
            continue
        depths = sorted({getattr(cell.config, field) for cell in own})
        top = 0.0
        for level, shift in zip(levels, shifts_pt(len(levels), depths, room_in, style), strict=True):
            series = {getattr(cell.config, field): (cell, point) for cell in own
                      if cell.artifact.level == level and (point := spread(cell, name))}  # fmt: skip
            if not series:
                continue
            points = {depth: series[depth][1] for depth in sorted(series)}
            draw_series(axis, list(points), list(points.values()), look_of[level], level, estimated=estimated,
                        shift_pt=shift, marker=marker_of(own[0].artifact.arch), filling=filling_of(own[0]))  # fmt: skip
            rows += [row_of(cell, phase=label, depth=depth, **ends("tokens_per_s", point))
                     for depth, (cell, point) in sorted(series.items())]  # fmt: skip
            last[-1][level] = (max(points), points[max(points)][0])
            top = max(top, *(point[2] for point in points.values()))
        axis.set_ylim(0, top * 1.12)
        edge = 0.08 * (depths[-1] - depths[0]) or 1.0
        low, high = depths[0] - edge, depths[-1] + edge
        share = end_room(levels, room_in, style) if direct else 0.0
        axis.set_xlim(low, high + (high - low) * share / (1 - share))
        count_ticks(axis.xaxis, depths, room_in * 0.7, 1.4 * style.font)
        axis.set_xlabel("tokens in the cache before")
        axis.set_ylabel(f"{label}, tokens/s")
        if place % len(present) == 0:
            axis.set_title(shortened(model, 0.8 * figure.get_figwidth(), style.font), loc="left")
    panel = Panel(env_id=cells[0].env_id, load="", cells=list(cells), lost=[])
    finish(
        figure,
        style,
        title="Speed against context depth",
        subtitle=marks(cells),
        words=("Scales differ between models. " if len(models) > 1 else "") + caption(panel, cells, environment),
        handles=[*([] if direct else level_keys(cells, look_of)), *filling_keys(cells)],
    )
    if direct:
        for axis, found in zip(axes, last, strict=True):
            if found:
                label_ends(axis, found, style)
    return Picture(figure, rows)
