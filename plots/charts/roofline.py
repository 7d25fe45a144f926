"""Decode against the device's own limit: read bandwidth divided by the bytes that a token reads.

It is the limit of one sequence at one token per pass, as decode is measured here. Speculative decoding and batches of
several sequences read the weights once for several tokens.
"""

from collections.abc import Iterator, Sequence

import msgspec
from matplotlib.axes import Axes

from plots.canvas.chart_input import ChartInput, Picture, ends, row_of
from plots.canvas.figures import MIB, decode_tps, ends_of
from plots.canvas.frame import Frame, frame
from plots.canvas.labels import boxes, name_points
from plots.canvas.panels import Panel, panels, stem_of
from plots.canvas.series import Mark, draw_levels
from plots.canvas.sheet import grid, log_axis
from plots.canvas.theme import Theme
from profiler.analysis.bandwidth_use import decode_bytes_per_token
from profiler.analysis.stats import median
from profiler.records.cell_summary import CellSummary
from profiler.records.span import Span
from profiler.results.stored import heads_of, places_of
from quant.base.text import counted

_GB = 1e9
_NOTES = (
    "Dotted: the read bandwidth measured at these threads over what a token reads (weights and cache), the limit of "
    "one sequence at one token per pass. Per cent: decode's MBU, its share of that bandwidth, where the number fits."
)


class _Read(msgspec.Struct, frozen=True):
    """What a cell reads per token, and what its device can read per second."""

    cell: CellSummary
    n_bytes: float
    ceiling: float
    point: Span

    @property
    def mbu(self) -> float:
        """Share of the bandwidth that decode used."""
        return self.point.value * self.n_bytes / self.ceiling


def roofline_charts(inputs: ChartInput, theme: Theme) -> Iterator[tuple[str, Picture | str]]:
    """Draw a chart for each load whose device's read bandwidth was measured."""
    reads = _reads_of(inputs)
    if not reads:
        yield "", "no read bandwidth, run slmprof doctor --bandwidth before profiling"
        return
    groups = panels(inputs.cells)
    for panel in groups:
        found = [reads[cell.cell_key, cell.env_id] for cell in panel.cells if (cell.cell_key, cell.env_id) in reads]
        if found:
            yield stem_of(panel, groups), _chart(panel, found, theme)


def _reads_of(inputs: ChartInput) -> dict[tuple[str, str], _Read]:
    heads = heads_of(inputs.rounds)
    cells = {(cell.cell_key, cell.env_id): cell for cell in inputs.cells if cell.config.device == "cpu"}
    reads = {}
    for key, places in places_of(inputs.rounds, cells).items():
        measured = [place for place in places if heads[place].status == "ok" and heads[place].read_ceiling_bytes_per_s]
        cell = cells[key]
        artifact, point = inputs.artifacts.get(cell.artifact.sha256), decode_tps(cell)
        if not measured or artifact is None or point is None:
            continue
        # What a token reads follows from the file and the settings, and is the same in every round.
        n_bytes = decode_bytes_per_token(artifact, inputs.rounds[measured[0]])
        if n_bytes:
            ceiling = median([heads[place].read_ceiling_bytes_per_s or 0.0 for place in measured])
            reads[key] = _Read(cell, n_bytes, ceiling, point)
    return reads


def _chart(panel: Panel, reads: Sequence[_Read], theme: Theme) -> Picture:
    threads = sorted({each.cell.config.n_threads for each in reads})
    figure, axes = grid(theme.style, len(threads), 3)
    low_x = min(each.n_bytes for each in reads) / MIB / 1.5
    high_x = max(each.n_bytes for each in reads) / MIB * 1.5
    top = max(max(each.ceiling / each.n_bytes, each.point.hi) for each in reads)
    bottom = min(each.point.lo for each in reads)
    drawn: list[tuple[Axes, list[_Read], float]] = []
    for axis, count in zip(axes, threads, strict=True):
        own = [each for each in reads if each.cell.config.n_threads == count]
        ceiling = median([each.ceiling for each in own])
        roof = [ceiling / (x * MIB) for x in (low_x, high_x)]
        axis.plot([low_x, high_x], roof, color="#777777", ls=":", lw=theme.style.line, marker="", zorder=1)
        draw_levels(axis, [Mark(each.cell, each.n_bytes / MIB, each.point) for each in own], theme)
        log_axis(axis, "x", low_x, high_x)
        log_axis(axis, "y", bottom / 1.3, top * 1.6)
        axis.set_xlabel("read per token, MiB")
        axis.set_ylabel("decode, tokens/s")
        axis.set_title(f"{counted(count, 'thread')}, {ceiling / _GB:.1f} GB/s", loc="left")
        drawn.append((axis, own, ceiling))
    own_words = Frame(title="Decode against the memory's limit", notes=_NOTES)
    frame(figure, theme, panel, [each.cell for each in reads], own_words)
    half = 0.3 * theme.style.font * figure.dpi / 72
    steps = [low_x * (high_x / low_x) ** (step / 40) for step in range(41)]
    for axis, own, ceiling in drawn:
        taken = boxes(axis.transData.transform([(x, ceiling / (x * MIB)) for x in steps]), half, per_piece=1)
        bars = [(each.n_bytes / MIB, end) for each in own for end in (each.point.value, *ends_of([each.point]))]
        taken += boxes(axis.transData.transform(bars), half, per_piece=1)
        points = [(f"{each.mbu:.0%}", [(each.n_bytes / MIB, each.point.value)]) for each in own]
        name_points(figure, axis, points, theme.style, taken=taken)
    rows = [
        row_of(
            each.cell,
            bytes_per_token=each.n_bytes,
            read_ceiling_bytes_per_s=each.ceiling,
            ceiling_tps=each.ceiling / each.n_bytes,
            utilisation=each.mbu,
            **ends("decode_tps", each.point),
        )
        for each in reads
    ]
    return Picture(figure, rows)
