"""How long a reader waits for each next token: the distribution of the gaps, not only their middle."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from plots.canvas.caption import caption, marks
from plots.canvas.chart_input import Picture, Row, Study, row_of
from plots.canvas.legend import filling_keys, level_keys
from plots.canvas.panels import Panel, at_common_threads, levels_of, models_of, panels
from plots.canvas.sheet import finish, log_ticks, rows_that_fit, sheet
from plots.canvas.style import Look, Style
from plots.canvas.text_width import shortened
from profiler.records.record import Environment, Round
from profiler.results.stored import cells_of

_SHARES = np.linspace(0, 1, 201)
_NS_PER_MS = 1e6
_LEAST_GAPS = 20
_MOST_PAGES = 4

RoundsOf = Mapping[tuple[str, str], Sequence[Round]]


def interval_charts(study: Study, style: Style, look_of: Mapping[str, Look]) -> Iterator[tuple[str, Picture | str]]:
    """Draw a chart for each load that decodes."""
    if not study.rounds:
        yield "", "the gaps between tokens stand in results files only, and none was given"
        return
    groups = panels(study.cells)
    several = len({panel.env_id for panel in groups}) > 1
    for panel in groups:
        stem = panel.load + (f"-{panel.env_id}" if several else "")
        decoding = [cell for cell in panel.cells if cell.token_gaps is not None]
        cells = at_common_threads(decoding) if decoding else []
        cells = [cell for cell in cells if cell.config.n_gen * cell.reps * cell.rounds >= _LEAST_GAPS]
        if not cells:
            yield stem, f"no cell has {_LEAST_GAPS} gaps between tokens"
            continue
        models = models_of(cells)
        most = min(3, style.beside) * rows_that_fit(style, 0.8 * style.panel)
        for first in list(range(0, len(models), most))[:_MOST_PAGES]:
            part = [cell for cell in cells if cell.artifact.model in models[first : first + most]]
            page = Panel(env_id=panel.env_id, load=panel.load, cells=part, lost=panel.lost)
            name = stem if first == 0 else f"{stem}-page{first // most + 1}"
            rounds_of = {
                (rounds[0].cell.key, rounds[0].env_id): [record for record in rounds if record.status == "ok"]
                for rounds in cells_of(study.rounds, {(cell.cell_key, cell.env_id) for cell in part})
            }
            yield name, _chart(page, study.environments.get(panel.env_id), rounds_of, style, look_of)


def _gaps_ms(record: Round) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    return np.array([step for sample in record.samples for step in sample.decode_ns], dtype=np.float64) / _NS_PER_MS


def _chart(
    panel: Panel, environment: Environment | None, rounds_of: RoundsOf, style: Style, look_of: Mapping[str, Look]
) -> Picture:
    cells, models = panel.cells, models_of(panel.cells)
    columns = min(3, style.beside, len(models))
    figure, axes = sheet(style, columns, -(-len(models) // columns))
    rows: list[Row] = []
    for axis in axes[len(models) :]:
        axis.set_visible(False)
    for axis, model in zip(axes, models, strict=False):
        edges: list[float] = []
        for level in levels_of(cells):
            for cell in [each for each in cells if (each.artifact.model, each.artifact.level) == (model, level)]:
                gaps = [found for record in rounds_of[cell.cell_key, cell.env_id] if len(found := _gaps_ms(record))]
                pooled = np.quantile(np.concatenate(gaps), _SHARES)
                each_round = np.array([np.quantile(found, _SHARES) for found in gaps])
                low, high = each_round.min(axis=0), each_round.max(axis=0)
                look = look_of[level]
                dash = "--" if cell.kind == "estimated" else look.dash
                axis.plot(pooled, _SHARES, color=look.colour, linestyle=dash, marker="", label=level)
                if len(gaps) > 1:
                    axis.fill_betweenx(_SHARES, low, high, color=look.colour, alpha=0.18, linewidth=0)
                edges += [float(low[1]), float(np.quantile(high, 0.995))]
                for at, share in enumerate(_SHARES):
                    figures = {"share": round(float(share), 3), "gap_ms": float(pooled[at])}
                    ends = {"gap_ms_from": float(low[at]), "gap_ms_to": float(high[at])}
                    rows.append(row_of(cell, n_gaps=sum(map(len, gaps)), **figures, **ends))
        axis.set_xscale("log")
        axis.set_xlim(min(edges) / 1.1, max(edges) * 1.1)
        log_ticks(axis.xaxis, *axis.get_xlim())
        axis.set_ylim(0, 1.02)
        axis.set_xlabel("gap to the next token, ms")
        axis.set_ylabel("share of gaps at most so long")
        axis.set_title(shortened(model, 0.75 * figure.get_figwidth() / columns, style.font), loc="left")
    words = "All gaps of all rounds; bands: from the fastest round to the slowest. "
    if len(models) > 1:
        words += "Scales differ between models. "
    finish(
        figure,
        style,
        title="Gaps between tokens",
        subtitle=marks(cells),
        words=words + caption(panel, cells, environment, bars=False),
        handles=[*level_keys(cells, look_of, marks=False), *filling_keys(cells)],
    )
    return Picture(figure, rows)
