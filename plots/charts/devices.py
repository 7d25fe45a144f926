"""Several devices in one study: beside each other for each model, or each with a panel of its own. Never mixed."""

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes

from plots.canvas.caption import caption, device_of, marks
from plots.canvas.chart_input import Picture, Row, Study, ends, row_of
from plots.canvas.legend import family_keys, filling_keys, level_keys
from plots.canvas.panels import (
    Panel,
    Point,
    at_common_threads,
    levels_of,
    load_name,
    models_of,
    ms_per_token,
    setting_of,
    spread,
)
from plots.canvas.series import draw_levels, error_bars, mark
from plots.canvas.sheet import finish, log_ticks, rows_that_fit, sheet
from plots.canvas.style import Look, Style, filling_of, marker_of
from plots.canvas.text_width import shortened, width_in
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment

# What a device may have of its own; a build or a label too, since an environment differs in it.
_FREE = ("env_id", "cores", "label")
_MOST_PAGES = 6


class _Load:
    """One load that several devices were given, each at the threads that most of its files were measured at."""

    def __init__(self, name: str, devices: dict[str, list[CellSummary]], names: dict[str, str]) -> None:
        self.name, self.devices, self.names = name, devices, names

    @property
    def cells(self) -> list[CellSummary]:
        return [cell for cells in self.devices.values() for cell in cells]


def _loads(study: Study) -> Iterator[_Load]:
    groups: dict[tuple[object, ...], dict[str, list[CellSummary]]] = {}
    for cell in study.cells:
        if cell.rounds and (cell.decode_tps or cell.prefill_tps):
            groups.setdefault(setting_of(cell, _FREE), {}).setdefault(cell.env_id, []).append(cell)
    seen: dict[str, int] = {}
    for found in groups.values():
        if len(found) < 2:
            continue
        chosen = {env_id: at_common_threads(cells) for env_id, cells in found.items()}
        name = load_name(next(iter(chosen.values()))[0])
        seen[name] = seen.get(name, 0) + 1
        yield _Load(name if seen[name] == 1 else f"{name}-{seen[name]}", chosen, _names(study, chosen))


def _names(study: Study, chosen: Mapping[str, Sequence[CellSummary]]) -> dict[str, str]:
    """Name each device by its board or CPU and its threads; by its environment too where two would be alike."""
    names = {}
    for env_id, cells in chosen.items():
        environment = study.environments.get(env_id)
        device = (environment.board or environment.cpu_model) if environment else env_id
        names[env_id] = f"{shortened(device, 1.3, 7)}, {cells[0].config.n_threads} thr."
    alike = [name for name in names.values() if list(names.values()).count(name) > 1]
    return {env_id: f"{name} ({env_id[:4]})" if name in alike else name for env_id, name in names.items()}


_ONE = "only one device was measured with any one load and setting"


def device_charts(study: Study, style: Style, look_of: Mapping[str, Look]) -> Iterator[tuple[str, Picture | str]]:
    """Draw decode on each device, a panel per model, a line per device."""
    loads = list(_loads(study))
    if not loads:
        yield "", _ONE
    for load in loads:
        devices_of = {
            model: {c.env_id for c in load.cells if c.artifact.model == model} for model in models_of(load.cells)
        }
        shared = [model for model, env_ids in devices_of.items() if len(env_ids) > 1]
        decoding = [model for model in shared if any(c.decode_tps for c in load.cells if c.artifact.model == model)]
        if not decoding:
            yield load.name, "no model was decoded on two devices"
        most = min(2, style.beside) * rows_that_fit(style, _panel_in(load, style))
        for first in list(range(0, len(decoding), most))[:_MOST_PAGES]:
            name = load.name if first == 0 else f"{load.name}-page{first // most + 1}"
            yield name, _devices(load, decoding[first : first + most], study.environments, style, look_of)


def _panel_in(load: _Load, style: Style) -> float:
    return (1.7 * len(load.devices) + 6.0) * style.font / 72


def _devices(
    load: _Load,
    models: Sequence[str],
    environments: Mapping[str, Environment],
    style: Style,
    look_of: Mapping[str, Look],
) -> Picture:
    columns = min(2, len(models), style.beside)
    figure, axes = sheet(style, columns, -(-len(models) // columns), panel=_panel_in(load, style))
    order = sorted(
        load.devices, key=lambda env_id: max(c.decode_tps.value if c.decode_tps else 0.0 for c in load.devices[env_id])
    )
    cells = [cell for cell in load.cells if cell.artifact.model in models and cell.decode_tps]
    rows: list[Row] = []
    for axis in axes[len(models) :]:
        axis.set_visible(False)
    for place, (axis, model) in enumerate(zip(axes, models, strict=False)):
        own = [cell for cell in cells if cell.artifact.model == model]
        ends_seen: list[float] = []
        for level in levels_of(own):
            found = [
                (cell, point) for cell in own if cell.artifact.level == level and (point := spread(cell, "decode_tps"))
            ]
            look, first = look_of[level], found[0][0]
            drawn = axis.errorbar(
                [point[0] for _, point in found],
                [order.index(cell.env_id) for cell, _ in found],
                xerr=error_bars([point for _, point in found]),
                linestyle="none",
                color=look.colour,
                elinewidth=0.8 * style.line,
                label=level,
            )
            marker, filling = marker_of(first.artifact.arch), filling_of(first)
            drawn.lines[0].set(
                **mark(look.colour, marker, "hollow" if first.kind == "estimated" else filling, look.rim)
            )
            ends_seen += [end for _, point in found for end in point]
            rows += [row_of(cell, device=load.names[cell.env_id], **ends("decode_tps", point)) for cell, point in found]
        axis.set_xscale("log")
        axis.set_xlim(min(ends_seen) / 1.3, max(ends_seen) * 1.3)
        log_ticks(axis.xaxis, *axis.get_xlim())
        names = [load.names[env_id] for env_id in order]
        axis.set_yticks(range(len(order)), names if place % columns == 0 else [""] * len(names))
        axis.set_ylim(-0.6, len(order) - 0.4)
        axis.set_xlabel("decode, tokens/s")
        axis.set_title(shortened(model, 0.6 * figure.get_figwidth() / columns, style.font), loc="left")
    words = "A line per device, the fastest on top. Scales differ between models. " if len(models) > 1 else ""
    finish(
        figure,
        style,
        title="Decode on several devices",
        subtitle=marks(cells),
        words=words + _caption(cells, environments),
        handles=[*level_keys(cells, look_of, lines=False), *family_keys(cells), *filling_keys(cells)],
    )
    return Picture(figure, rows)


def facet_charts(study: Study, style: Style, look_of: Mapping[str, Look]) -> Iterator[tuple[str, Picture | str]]:
    """Draw decode latency against parameters, a panel per device, all on the same scales."""
    loads = list(_loads(study))
    if not loads:
        yield "", _ONE
    for load in loads:
        found = {
            env_id: decoding
            for env_id, cells in load.devices.items()
            if (decoding := [cell for cell in cells if cell.decode_tps])
        }
        if len(found) < 2:
            yield load.name, "fewer than two devices have a decode"
            continue
        most = min(3, style.beside) * rows_that_fit(style, 0.8 * style.panel)
        env_ids = list(found)
        for first in range(0, len(env_ids), most):
            page = {env_id: found[env_id] for env_id in env_ids[first : first + most]}
            name = load.name if first == 0 else f"{load.name}-page{first // most + 1}"
            yield name, _facets(load, page, [c for cells in found.values() for c in cells], study, style, look_of)


def _facets(
    load: _Load,
    page: Mapping[str, Sequence[CellSummary]],
    every: Sequence[CellSummary],
    study: Study,
    style: Style,
    look_of: Mapping[str, Look],
) -> Picture:
    columns = min(3, style.beside, len(page))
    figure, axes = sheet(style, columns, -(-len(page) // columns), panel=0.8 * style.panel)
    sizes = [cell.artifact.n_params / 1e6 for cell in every]
    times = [end for cell in every if (point := _ms(cell)) for end in point]
    rows: list[Row] = []
    for axis in axes[len(page) :]:
        axis.set_visible(False)
    for axis, (env_id, cells) in zip(axes, page.items(), strict=False):
        marked = [(cell, cell.artifact.n_params / 1e6, point) for cell in cells if (point := _ms(cell))]
        draw_levels(axis, marked, look_of)
        _scales(axis, sizes, times)
        wide = 0.7 * figure.get_figwidth() / columns
        name = load.names[env_id]
        while width_in(name, style.font) > wide and len(name) > 4:
            name = shortened(name, wide, style.font)
        axis.set_title(name, loc="left")
        rows += [row_of(cell, device=load.names[env_id], **ends("decode_ms_per_token", point))
                 for cell, _, point in marked]  # fmt: skip
    cells = [cell for found in page.values() for cell in found]
    finish(
        figure,
        style,
        title="Decode latency against model size, by device",
        subtitle=marks(cells),
        words="All panels have the same scales. " + _caption(cells, study.environments),
        handles=[*level_keys(cells, look_of, lines=False), *family_keys(cells), *filling_keys(cells)],
    )
    return Picture(figure, rows)


def _ms(cell: CellSummary) -> Point | None:
    found = spread(cell, "decode_tps")
    return ms_per_token(found) if found else None


def _scales(axis: Axes, sizes: Sequence[float], times: Sequence[float]) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(min(sizes) / 1.6, max(sizes) * 1.6)
    axis.set_ylim(min(times) / 1.3, max(times) * 1.3)
    log_ticks(axis.xaxis, *axis.get_xlim())
    log_ticks(axis.yaxis, *axis.get_ylim())
    axis.set_xlabel("unique parameters, million")
    axis.set_ylabel("decode, ms per token")


def _caption(cells: Sequence[CellSummary], environments: Mapping[str, Environment]) -> str:
    """Name every device with its build, then what is common."""
    told = []
    for env_id in dict.fromkeys(cell.env_id for cell in cells):
        environment = environments.get(env_id)
        label = next((f", build {cell.label}" for cell in cells if cell.env_id == env_id and cell.label), "")
        told.append((device_of(environment) if environment else f"environment {env_id}") + label)
    panel = Panel(env_id=cells[0].env_id, load="", cells=list(cells), lost=[])
    return f"Devices: {'; '.join(told)}. " + caption(panel, cells, None)
