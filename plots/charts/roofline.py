"""Decode against the device's own limit: tokens per second cannot pass read bandwidth divided by bytes per token."""

from collections.abc import Iterator, Mapping

from plots.canvas.caption import caption, marks
from plots.canvas.chart_input import Picture, Study, ends, row_of
from plots.canvas.labels import boxes, name_points
from plots.canvas.legend import family_keys, filling_keys, level_keys
from plots.canvas.panels import Panel, Point, panels, spread
from plots.canvas.series import draw_levels
from plots.canvas.sheet import finish, log_ticks, sheet
from plots.canvas.style import Look, Style
from profiler.analysis.bandwidth_use import decode_bytes_per_token
from profiler.analysis.stats import median
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment
from profiler.results.stored import heads_of, places_of

_MIB = 1 << 20
_GB = 1e9


class _Read:
    """What a cell reads per token, and what its device can read per second."""

    def __init__(self, cell: CellSummary, n_bytes: float, ceiling: float, point: Point) -> None:
        self.cell, self.n_bytes, self.ceiling, self.point = cell, n_bytes, ceiling, point


def roofline_charts(study: Study, style: Style, look_of: Mapping[str, Look]) -> Iterator[tuple[str, Picture | str]]:
    """Draw a chart for each load whose device's read bandwidth was measured."""
    reads = _reads_of(study)
    if not reads:
        yield "", "the read bandwidth was not measured before; run slmprof doctor --bandwidth, then profile"
        return
    groups = panels(study.cells)
    several = len({panel.env_id for panel in groups}) > 1
    for panel in groups:
        found = [reads[cell.cell_key, cell.env_id] for cell in panel.cells if (cell.cell_key, cell.env_id) in reads]
        stem = panel.load + (f"-{panel.env_id}" if several else "")
        if found:
            yield stem, _chart(panel, found, study.environments.get(panel.env_id), style, look_of)


def _reads_of(study: Study) -> dict[tuple[str, str], _Read]:
    heads = heads_of(study.rounds)
    cells = {(cell.cell_key, cell.env_id): cell for cell in study.cells if cell.config.device == "cpu"}
    reads = {}
    for key, places in places_of(study.rounds, cells).items():
        measured = [place for place in places if heads[place].status == "ok" and heads[place].read_ceiling_bytes_per_s]
        cell = cells[key]
        artifact, point = study.artifacts.get(cell.artifact.sha256), spread(cell, "decode_tps")
        if not measured or artifact is None or point is None:
            continue
        # What a token reads follows from the file and the settings, and is the same in every round.
        n_bytes = decode_bytes_per_token(artifact, study.rounds[measured[0]])
        if n_bytes:
            ceiling = median([heads[place].read_ceiling_bytes_per_s or 0.0 for place in measured])
            reads[key] = _Read(cell, n_bytes, ceiling, point)
    return reads


def _chart(
    panel: Panel, reads: list[_Read], environment: Environment | None, style: Style, look_of: Mapping[str, Look]
) -> Picture:
    cells = [each.cell for each in reads]
    threads = sorted({cell.config.n_threads for cell in cells})
    figure, axes = sheet(style, min(len(threads), 3), -(-len(threads) // 3))
    for axis in axes[len(threads) :]:
        axis.set_visible(False)
    low_x = min(each.n_bytes for each in reads) / _MIB / 1.5
    high_x = max(each.n_bytes for each in reads) / _MIB * 1.5
    top = max(max(each.ceiling / each.n_bytes, each.point[2]) for each in reads)
    bottom = min(each.point[1] for each in reads)
    named = []
    for axis, count in zip(axes, threads, strict=False):
        own = [each for each in reads if each.cell.config.n_threads == count]
        ceiling = median([each.ceiling for each in own])
        axis.plot(
            [low_x, high_x],
            [ceiling / (x * _MIB) for x in (low_x, high_x)],
            color="#777777",
            linestyle=":",
            linewidth=style.line,
            marker="",
            zorder=1,
        )
        draw_levels(axis, [(each.cell, each.n_bytes / _MIB, each.point) for each in own], look_of)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlim(low_x, high_x)
        axis.set_ylim(bottom / 1.3, top * 1.6)
        log_ticks(axis.xaxis, *axis.get_xlim())
        log_ticks(axis.yaxis, *axis.get_ylim())
        axis.set_xlabel("read per token, MiB")
        axis.set_ylabel("decode, tokens/s")
        axis.set_title(f"{count} thread{'' if count == 1 else 's'}, {ceiling / _GB:.1f} GB/s", loc="left")
        named.append((axis, own, ceiling))
    finish(
        figure,
        style,
        title="Decode against the memory's limit",
        subtitle=marks(cells),
        words="Dotted: the read bandwidth measured at these threads over what a token reads (weights and cache). "
        "Per cent: the share of it that decode used, where the number fits. " + caption(panel, cells, environment),
        handles=[*level_keys(cells, look_of, lines=False), *family_keys(cells), *filling_keys(cells)],
    )
    half = 0.3 * style.font * figure.dpi / 72
    for axis, own, ceiling in named:
        points = [
            (f"{each.point[0] * each.n_bytes / each.ceiling:.0%}", [(each.n_bytes / _MIB, each.point[0])])
            for each in own
        ]
        steps = [low_x * (high_x / low_x) ** (step / 40) for step in range(41)]
        taken = boxes(axis.transData.transform([(x, ceiling / (x * _MIB)) for x in steps]), half, joined=False)
        bars = [(each.n_bytes / _MIB, end) for each in own for end in each.point]
        taken += boxes(axis.transData.transform(bars), half, joined=False)
        name_points(figure, axis, points, style, taken=taken)
    rows = [
        row_of(
            each.cell,
            bytes_per_token=each.n_bytes,
            read_ceiling_bytes_per_s=each.ceiling,
            ceiling_tps=each.ceiling / each.n_bytes,
            utilisation=each.point[0] * each.n_bytes / each.ceiling,
            **ends("decode_tps", each.point),
        )
        for each in reads
    ]
    return Picture(figure, rows)
