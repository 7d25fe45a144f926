"""`python -m tests.benchmarks.charts_look`: does every chart look right? Draws all of them from made records.

At one column's width and at two: no text may cover another or leave the canvas. Colours of levels that stand beside
each other must stay apart for people of any colour vision. The pictures are kept, to be looked at.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import msgspec
from matplotlib.figure import Figure

import plots.render.draw
from plots.canvas.chart_input import chart_input
from plots.canvas.style import LEVEL_COLOURS
from plots.render.draw import DrawOptions, draw_all
from profiler.analysis.summarise import summarise
from profiler.records.cell_summary import CellSummary, QualityFigures
from profiler.records.quality import Mean
from profiler.results.file import Results
from tests.support.colours import VISIONS, distance
from tests.support.extents import faults
from tests.support.studies import BOARDS, LEVELS, MODELS, files, many_models, operators_report, study
from tests.support.summaries import environment

# What is measured by default with the usual smaller levels and the i-quants near Q4; and the smaller i-quants.
TOGETHER = (
    ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K", "IQ4_NL", "IQ4_XS"),
    ("Q8_0", "Q4_K_M", "IQ4_XS", "IQ3_XXS", "IQ2_M", "IQ1_M", "Q2_K"),
)
LEAST_DISTANCE = 10.0  # CIEDE2000; 2.3 is just noticed, and thin lines need more
MANY = 60


def too_near(levels: Sequence[str], least: float = LEAST_DISTANCE) -> list[str]:
    """Name the pairs of levels that look alike, and to whom."""
    return [
        f"{one} and {other} are {far:.1f} apart ({vision})"
        for one, other in combinations(levels, 2)
        for vision in VISIONS
        if (far := distance(LEVEL_COLOURS[one], LEVEL_COLOURS[other], vision)) < least
    ]


def one_model() -> tuple[Results, list[CellSummary]]:
    """One model with the ten usual levels."""
    found = study(files(MODELS[:1], TOGETHER[0]), threads=(4,), rounds=3)
    return found, summarise(found)


def two_models() -> tuple[Results, list[CellSummary]]:
    """Two models with the ten usual levels."""
    found = study(files(MODELS[:2], TOGETHER[0]), threads=(4,), rounds=3)
    return found, summarise(found)


def one_board() -> tuple[Results, list[CellSummary]]:
    """Three models, six levels, three thread counts, three depths."""
    found = study(files(), threads=(1, 2, 4), depths=(0, 512, 2048), rounds=3)
    return found, summarise(found)


def with_quality() -> tuple[Results, list[CellSummary]]:
    """What quantizing lost was measured."""
    found = study(files(), threads=(2,))
    losses = [(cell, 0.3 * 2 ** -(cell.artifact.bpw - 3)) for cell in summarise(found)]
    return found, [
        msgspec.structs.replace(cell, quality=QualityFigures(kld=Mean(value=loss, se=loss / 30)))
        for cell, loss in losses
    ]


def many() -> tuple[Results, list[CellSummary]]:
    """Sixty models of eleven families, real, synthetic and in a stand-in's shape."""
    found = study(files(many_models(MANY), ("Q8_0", "Q4_K_M")), threads=(2,), rounds=3)
    return found, summarise(found)


def ten_boards() -> tuple[Results, list[CellSummary]]:
    """Ten boards in one study."""
    boards = [environment(board=f"Made Board {number} Model {'ABCD'[number % 4]}") for number in range(8)]
    found = study(files(MODELS, tuple(LEVELS)[1:4]), boards=(*BOARDS, *boards), threads=(4,), rounds=3)
    return found, summarise(found)


STUDIES: dict[str, Callable[[], tuple[Results, list[CellSummary]]]] = {
    "one-model": one_model,
    "two-models": two_models,
    "one-board": one_board,
    "quality": with_quality,
    "many-models": many,
    "ten-boards": ten_boards,
}
# What a study adds to those before it; the rest of its charts would be the same once more.
CHARTS_OF: dict[str, tuple[str, ...] | None] = {
    "one-model": ("latency-vs-parameters", "decode-vs-size"),
    "two-models": ("latency-vs-parameters",),
    "one-board": None,
    "quality": ("level-tradeoff", "pareto"),
    "many-models": ("latency-vs-parameters", "decode-vs-size", "pareto", "roofline"),
    "ten-boards": ("device-comparison", "device-facets"),
}


def look(
    folder: Path,
    *,
    names: Sequence[str] = tuple(STUDIES),
    charts: Sequence[str] | None = None,
    widths: Sequence[int] = (1, 2),
) -> list[str]:
    """Draw everything as wide as one and as two columns; give what is wrong, each line with its chart."""
    wrong: list[str] = []
    save = plots.render.draw._save

    def checked(figure: Figure, path: Path, form: str) -> Path:
        saved = save(figure, path, form)
        wrong.extend(f"{path.parent.name}/{path.stem}: {fault}" for fault in faults(figure))
        return saved

    with mock.patch.object(plots.render.draw, "_save", checked):
        for name in names:
            results, cells = STUDIES[name]()
            for columns in widths:
                draw_all(
                    chart_input(cells, results, (operators_report(),) if name == "one-board" else ()),
                    folder / f"{name}-{columns}",
                    DrawOptions(chosen=charts or CHARTS_OF[name], columns=columns, reference=name == "many-models"),
                    say=lambda line: print(line, file=sys.stderr),
                )
    plt.close("all")
    return wrong


def main() -> int:
    """Draw, check, and fail where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--study", choices=STUDIES, action="append", help="all by default")
    parser.add_argument("--chart", choices=plots.render.draw.NAMES, action="append", help="all by default")
    options = parser.parse_args()
    wrong = [fault for levels in TOGETHER for fault in too_near(levels)]
    wrong += look(options.folder, names=options.study or tuple(STUDIES), charts=options.chart)
    print("\n".join(wrong) or f"nothing overlaps or is cut off, and colours stay apart; look at {options.folder}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
