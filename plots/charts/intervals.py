"""How long a reader waits for each next token: the distribution of the gaps, not only their median."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from plots.canvas.chart_input import ChartInput, Picture, Row, row_of
from plots.canvas.frame import Frame, frame
from plots.canvas.legend import filling_keys, level_keys
from plots.canvas.panels import Panel, at_common_threads, levels_of, models_of, pages, panels, stem_of
from plots.canvas.sheet import grid, log_axis, name_panel, rows_that_fit
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary
from profiler.records.round import Round
from profiler.results.stored import cells_of

_SHARES = np.linspace(0, 1, 201)
_NS_PER_MS = 1e6
_LEAST_GAPS = 20
_MOST_PAGES = 4

RoundsOf = Mapping[tuple[str, str], Sequence[Round]]
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def interval_charts(inputs: ChartInput, theme: Theme) -> Iterator[tuple[str, Picture | str]]:
    """Draw a chart for each load that decodes."""
    if not inputs.rounds:
        yield "", "needs the rounds of a results file"
        return
    groups = panels(inputs.cells)
    most = min(3, theme.style.most_columns) * rows_that_fit(theme.style, 0.8 * theme.style.panel)
    for panel in groups:
        stem = stem_of(panel, groups)
        decoding = [cell for cell in panel.cells if cell.token_gaps is not None]
        cells = at_common_threads(decoding) if decoding else []
        cells = [cell for cell in cells if cell.config.n_gen * cell.reps * cell.rounds >= _LEAST_GAPS]
        if not cells:
            yield stem, f"no cell has {_LEAST_GAPS} gaps between tokens"
            continue
        drawn = Panel(env_id=panel.env_id, load=panel.load, cells=cells, lost=panel.lost)
        for name, page in islice(pages(stem, drawn, most), _MOST_PAGES):
            rounds_of = {
                (rounds[0].cell.key, rounds[0].env_id): [record for record in rounds if record.status == "ok"]
                for rounds in cells_of(inputs.rounds, {(cell.cell_key, cell.env_id) for cell in page.cells})
            }
            yield name, _chart(page, rounds_of, theme)


class _Gaps(NamedTuple):
    """How one cell's gaps are distributed: at each of _SHARES all rounds pooled, the fastest and the slowest round."""

    n_gaps: int
    n_rounds: int
    pooled: Numbers
    low: Numbers
    high: Numbers


def _gaps_of(rounds: Sequence[Round]) -> _Gaps:
    gaps = [found for record in rounds if len(found := _gaps_ms(record))]
    each_round = np.array([np.quantile(found, _SHARES) for found in gaps])
    pooled = np.quantile(np.concatenate(gaps), _SHARES)
    return _Gaps(sum(map(len, gaps)), len(gaps), pooled, each_round.min(axis=0), each_round.max(axis=0))


def _gaps_ms(record: Round) -> Numbers:
    return np.array([step for sample in record.samples for step in sample.decode_ns], dtype=np.float64) / _NS_PER_MS


def _chart(panel: Panel, rounds_of: RoundsOf, theme: Theme) -> Picture:
    cells, models = panel.cells, models_of(panel.cells)
    figure, axes = grid(theme.style, len(models), 3)
    rows: list[Row] = []
    for axis, model in zip(axes, models, strict=True):
        edges: list[float] = []
        for level in levels_of(cells):
            for cell in [each for each in cells if (each.artifact.model, each.artifact.level) == (model, level)]:
                gaps, colour = _gaps_of(rounds_of[cell.cell_key, cell.env_id]), theme.look_of(cell).colour
                axis.plot(gaps.pooled, _SHARES, color=colour, linestyle=theme.dash_of(cell), marker="", label=level)
                if gaps.n_rounds > 1:
                    axis.fill_betweenx(_SHARES, gaps.low, gaps.high, color=colour, alpha=0.18, linewidth=0)
                edges += [float(gaps.low[1]), float(np.quantile(gaps.high, 0.995))]
                rows += _rows(cell, gaps)
        log_axis(axis, "x", min(edges) / 1.1, max(edges) * 1.1)
        axis.set_ylim(0, 1.02)
        axis.set_xlabel("gap to the next token, ms")
        axis.set_ylabel("share of gaps up to that")
        name_panel(axis, model, theme.style)
    own = Frame(
        title="Gaps between tokens",
        notes="All gaps of all rounds; bands: from the fastest round to the slowest.",
        bars="none",
        scales_differ=True,
        handles=[*level_keys(cells, theme, marks=False), *filling_keys(cells)],
    )
    frame(figure, theme, panel, cells, own)
    return Picture(figure, rows)


def _rows(cell: CellSummary, gaps: _Gaps) -> list[Row]:
    return [
        row_of(cell, n_gaps=gaps.n_gaps, share=round(float(share), 3), gap_ms=float(gaps.pooled[at]),
               gap_ms_from=float(gaps.low[at]), gap_ms_to=float(gaps.high[at]))
        for at, share in enumerate(_SHARES)
    ]  # fmt: skip
