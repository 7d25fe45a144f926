"""Several devices in one set of results: side by side for each model, or each with its own panel; never mixed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from plots.canvas.chart_input import ChartInput, Picture, Row, ends, row_of
from plots.canvas.figures import MILLION, decode_ms, decode_tps, ends_of
from plots.canvas.frame import Frame, frame
from plots.canvas.panels import Panel, at_common_threads, load_name, models_of, numbered, paged, setting_of
from plots.canvas.series import Mark, draw_levels, row_mark
from plots.canvas.sheet import grid, log_axis, name_panel, rows_that_fit
from plots.canvas.style import Style
from plots.canvas.text_width import shortened
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary

# What a device may have of its own; a build or a label too, since an environment differs in it.
_FREE = ("env_id", "cores", "label")
_MOST_PAGES = 6
_ONE = "one device only"


class _Load(msgspec.Struct, frozen=True):
    """One load measured on several devices, each at the threads that most of its files were measured at."""

    name: str
    devices: dict[str, list[CellSummary]]
    names: dict[str, str]  # of the devices

    @property
    def cells(self) -> list[CellSummary]:
        return [cell for cells in self.devices.values() for cell in cells]


def _loads(inputs: ChartInput) -> Iterator[_Load]:
    groups: dict[tuple[object, ...], dict[str, list[CellSummary]]] = {}
    for cell in inputs.cells:
        if cell.rounds and (cell.decode_tps or cell.prefill_tps):
            groups.setdefault(setting_of(cell, _FREE), {}).setdefault(cell.env_id, []).append(cell)
    seen: Counter[str] = Counter()
    for found in groups.values():
        if len(found) > 1:
            chosen = {env_id: at_common_threads(cells) for env_id, cells in found.items()}
            name = load_name(next(iter(chosen.values()))[0])
            yield _Load(numbered(name, seen), chosen, _names(inputs, chosen))


def _names(inputs: ChartInput, chosen: Mapping[str, Sequence[CellSummary]]) -> dict[str, str]:
    """Name each device by its board or CPU and its threads; by its environment too where two would be alike."""
    names = {}
    for env_id, cells in chosen.items():
        environment = inputs.environments.get(env_id)
        device = (environment.board or environment.cpu_model) if environment else env_id
        names[env_id] = f"{shortened(device, 1.3, 7)}, {cells[0].config.n_threads} thr."
    alike = Counter(names.values())
    return {env_id: f"{name} ({env_id[:4]})" if alike[name] > 1 else name for env_id, name in names.items()}


def device_charts(inputs: ChartInput, theme: Theme) -> Iterator[tuple[str, Picture | str]]:
    """Draw decode on each device, a panel per model, a row per device."""
    loads = list(_loads(inputs))
    if not loads:
        yield "", _ONE
    for load in loads:
        decoding = [cell for cell in load.cells if decode_tps(cell)]
        shared = [
            model
            for model in models_of(load.cells)
            if len({c.env_id for c in load.cells if c.artifact.model == model}) > 1
        ]
        models = [model for model in shared if any(cell.artifact.model == model for cell in decoding)]
        if not models:
            yield load.name, "no model was decoded on two devices"
        most = min(2, theme.style.most_columns) * rows_that_fit(theme.style, _panel_in(load, theme.style))
        for name, page in islice(paged(load.name, models, most), _MOST_PAGES):
            yield name, _devices(load, page, [cell for cell in decoding if cell.artifact.model in page], theme)


def _panel_in(load: _Load, style: Style) -> float:
    return (1.7 * len(load.devices) + 6.0) * style.font / 72


def _devices(load: _Load, models: Sequence[str], cells: Sequence[CellSummary], theme: Theme) -> Picture:
    figure, axes = grid(theme.style, len(models), 2, panel=_panel_in(load, theme.style))
    order = sorted(
        load.devices, key=lambda env_id: max(c.decode_tps.value if c.decode_tps else 0.0 for c in load.devices[env_id])
    )
    names = [load.names[env_id] for env_id in order]
    rows: list[Row] = []
    for axis, model in zip(axes, models, strict=True):
        own = [(cell, point, order.index(cell.env_id)) for cell in cells if cell.artifact.model == model
               if (point := decode_tps(cell))]  # fmt: skip
        draw_levels(axis, [row_mark(cell, row, point) for cell, point, row in own], theme)
        rows += [row_of(cell, device=names[row], **ends("decode_tps", point)) for cell, point, row in own]
        seen = ends_of(point for _, point, _ in own)
        log_axis(axis, "x", min(seen) / 1.3, max(seen) * 1.3)
        spec = axis.get_subplotspec()
        axis.set_yticks(range(len(order)), names if spec and spec.is_first_col() else [""] * len(names))
        axis.set_ylim(-0.6, len(order) - 0.4)
        axis.set_xlabel("decode, tokens/s")
        name_panel(axis, model, theme.style, room_in=0.6 * figure.get_figwidth() / min(2, len(models)))
    own_words = Frame(title="Decode on several devices", notes="The fastest device is on top.", scales_differ=True)
    frame(figure, theme, _panel_of(load.name, cells), cells, own_words)
    return Picture(figure, rows)


def facet_charts(inputs: ChartInput, theme: Theme) -> Iterator[tuple[str, Picture | str]]:
    """Draw decode latency against parameters, a panel per device, all on the same scales."""
    loads = list(_loads(inputs))
    if not loads:
        yield "", _ONE
    for load in loads:
        decoding = [cell for cell in load.cells if decode_tps(cell)]
        env_ids = [env_id for env_id in load.devices if any(cell.env_id == env_id for cell in decoding)]
        if len(env_ids) < 2:
            yield load.name, "fewer than two devices have a decode"
            continue
        most = min(3, theme.style.most_columns) * rows_that_fit(theme.style, 0.8 * theme.style.panel)
        for name, page in paged(load.name, env_ids, most):
            yield name, _facets(load, page, decoding, theme)


def _facets(load: _Load, env_ids: Sequence[str], every: Sequence[CellSummary], theme: Theme) -> Picture:
    figure, axes = grid(theme.style, len(env_ids), 3, panel=0.8 * theme.style.panel)
    marks = [Mark(cell, cell.artifact.n_params / MILLION, point) for cell in every if (point := decode_ms(cell))]
    sizes, times = [each.x for each in marks], ends_of(each.point for each in marks)
    rows: list[Row] = []
    for axis, env_id in zip(axes, env_ids, strict=True):
        own = [each for each in marks if each.cell.env_id == env_id]
        draw_levels(axis, own, theme)
        log_axis(axis, "x", min(sizes) / 1.6, max(sizes) * 1.6)
        log_axis(axis, "y", min(times) / 1.3, max(times) * 1.3)
        axis.set_xlabel("unique parameters, million")
        axis.set_ylabel("decode, ms per token")
        name_panel(axis, load.names[env_id], theme.style)
        rows += [
            row_of(each.cell, device=load.names[env_id], **ends("decode_ms_per_token", each.point)) for each in own
        ]
    cells = [each.cell for each in marks if each.cell.env_id in env_ids]
    own_words = Frame(title="Decode latency against model size, by device", notes="All panels have the same scales.")
    frame(figure, theme, _panel_of(load.name, cells), cells, own_words)
    return Picture(figure, rows)


def _panel_of(name: str, cells: Sequence[CellSummary]) -> Panel:
    return Panel(env_id=cells[0].env_id, load=name, cells=list(cells), lost=[])
