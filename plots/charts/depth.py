"""Speed against how many tokens are in the cache already: a long conversation is slower than a short one."""

from collections import Counter
from collections.abc import Iterator, Sequence

from plots.canvas.chart_input import ChartInput, Picture
from plots.canvas.figures import decode_tps, prefill_tps
from plots.canvas.frame import Frame, frame
from plots.canvas.panels import Panel, at_common_threads, load_name, numbered, pages, setting_of
from plots.canvas.phases import Counted, Phase, draw_phases, measured_phases, rows_per_figure
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary

# Its context grows with the depth, so that is no other setting.
_FREE = ("n_depth", "n_ctx")
_PHASES = (Phase("prefill", prefill_tps, "n_depth"), Phase("decode", decode_tps, "decode_depth"))


def depth_charts(inputs: ChartInput, theme: Theme) -> Iterator[tuple[str, Picture | str]]:
    """Draw a chart for each setting that was measured at several depths."""
    groups: dict[tuple[object, ...], list[CellSummary]] = {}
    for cell in inputs.cells:
        if cell.rounds and measured_phases([cell], _PHASES):
            groups.setdefault(setting_of(cell, _FREE), []).append(cell)
    deep = [cells for cells in groups.values() if len({cell.config.n_depth for cell in cells}) > 1]
    if not deep:
        yield "", "one depth only, use -d"
    several = len({cells[0].env_id for cells in deep}) > 1
    seen: Counter[str] = Counter()
    for cells in deep:
        load = load_name(cells[0])
        panel = Panel(
            env_id=cells[0].env_id,
            load=load.rpartition("-d")[0] if cells[0].config.workload == "custom" else load,
            cells=_of_one_thread_count(cells),
            lost=[],
        )
        name = numbered(panel.load + (f"-{panel.env_id}" if several else ""), seen)
        for page, part in pages(name, panel, rows_per_figure(theme.style, len(_PHASES))):
            yield page, _chart(part, theme)


def _of_one_thread_count(cells: Sequence[CellSummary]) -> list[CellSummary]:
    """Choose one thread count for all depths: a line is to show what depth does, and nothing else."""
    places: dict[int, set[tuple[str, int]]] = {}
    for cell in cells:
        places.setdefault(cell.config.n_threads, set()).add((cell.artifact.sha256, cell.config.n_depth))
    threads = max(places, key=lambda n: (len(places[n]), n))
    alike = [cell for cell in cells if cell.config.n_threads == threads]
    depths = sorted({cell.config.n_depth for cell in alike})
    return [each for depth in depths for each in at_common_threads([c for c in alike if c.config.n_depth == depth])]


def _chart(panel: Panel, theme: Theme) -> Picture:
    phases = measured_phases(panel.cells, _PHASES)
    made = draw_phases(theme, panel.cells, phases, Counted(label="tokens in the cache before", column="depth"))
    own = Frame(title="Speed against context depth", scales_differ=True, handles=made.handles)
    frame(made.figure, theme, panel, panel.cells, own)
    made.name_ends()
    return Picture(made.figure, made.rows)
