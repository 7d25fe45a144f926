"""All charts of some results into one folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from plots import memory, threads
from plots.latency import latency_chart
from plots.load import Panel, distinct, levels_of, pages, panels
from plots.memory import memory_chart
from plots.size import size_chart
from plots.style import FORMATS, Look, Style, drawing, find_style, looks
from plots.threads import threads_chart
from profiler.record import Environment
from profiler.summary import CellSummary
from quant.errors import UserError
from quant.files import atomic_path

Chart = Callable[[Panel, Environment | None, Style, Mapping[str, Look]], Figure | str]
CHARTS: dict[str, Chart] = {
    "latency-vs-parameters": latency_chart,
    "speed-vs-threads": threads_chart,
    "memory-by-part": memory_chart,
    "decode-vs-size": size_chart,
}
# Charts with a panel per model go on in a second figure where one is full.
_MODELS_PER_FIGURE: dict[str, Callable[[Panel, Style], int]] = {
    "speed-vs-threads": threads.models_per_figure,
    "memory-by-part": memory.models_per_figure,
}
# What a file says of itself must not change from run to run.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "slmprof"},
    "svg": {"Date": None, "Creator": "slmprof"},
    "pdf": {"CreationDate": None, "Creator": "slmprof", "Producer": None},
}


def draw_all(
    summaries: Sequence[CellSummary],
    environments: Mapping[str, Environment],
    out_dir: Path,
    *,
    formats: Sequence[str] = ("png",),
    style: str = "paper",
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Draw every chart that the results have figures for, and give the paths; say why another is left out.

    Raises:
        UserError: a format or style is unknown, nothing can be drawn, or the folder cannot be written.
    """
    if unknown := [each for each in formats if each not in FORMATS]:
        raise UserError(f"unknown format '{unknown[0]}'; choose from {', '.join(FORMATS)}")
    look = find_style(style)
    # One look per level over all charts, so that a colour always means the same.
    shown = distinct(summaries)
    look_of = looks(levels_of(shown))
    groups = panels(shown)
    if not any(panel.cells for panel in groups):
        raise UserError("there is nothing to draw: no cell has figures; see slmprof show")
    several = len({panel.env_id for panel in groups}) > 1
    paths = []
    for panel in groups:
        for name, chart in CHARTS.items():
            stem = f"{name}-{panel.load}" + (f"-{panel.env_id}" if several else "")
            most = _MODELS_PER_FIGURE.get(name)
            parts = pages(panel, most(panel, look)) if most else [panel]
            for number, part in enumerate(parts, 1):
                page = stem if number == 1 else f"{stem}-page{number}"
                with drawing(look):
                    made = chart(part, environments.get(panel.env_id), look, look_of)
                    if isinstance(made, str):
                        say(f"no chart {page}: {made}")
                        continue
                    try:
                        paths += [_save(made, out_dir / f"{page}.{form}", form) for form in formats]
                    finally:
                        plt.close(made)
    if not paths:
        raise UserError("there is nothing to draw: no cell has figures; see slmprof show")
    return paths


def _save(figure: Figure, path: Path, form: str) -> Path:
    with atomic_path(path) as part:
        figure.savefig(part, format=form, metadata=_METADATA[form])
    return path
