"""The figure of `make bench-layout`: one cell in ten environments, by side; drawn from the rows of its CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from plots.canvas.series import error_bars, mark
from plots.canvas.sheet import finish, name_panel, sheet
from plots.canvas.style import drawing, find_style
from profiler.analysis.stats import median, span_of
from profiler.records.span import Span
from quant.base.files import atomic_path, write_text

SIDES = BENCH, CHANCE, VARIED = "llama-bench", "slmprof, layout left to chance", "slmprof, layout varied"
_COLOURS = {BENCH: "#6C991A", CHANCE: "#982312", VARIED: "#3C76F8"}
_FIGURES = ("prefill_tps", "prefill_tps_lo", "prefill_tps_hi")

Row = dict[str, str | float]


def write_csv(path: Path, environments: Sequence[str], found: Sequence[Mapping[str, Sequence[float]]]) -> list[Row]:
    """Write a row for each sweep, the median with its range in tokens per second; return the rows."""
    rows: list[Row] = []
    for side in SIDES:
        for name, sweep in zip(environments, found, strict=True):
            span = span_of(sweep[side])
            assert span is not None
            ends = {"prefill_tps": span.value, "prefill_tps_lo": span.lo, "prefill_tps_hi": span.hi}
            figures = {name: round(value, 2) for name, value in ends.items()}
            rows.append({"side": side, "environment": name, **figures, "turns": len(sweep[side])})
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return rows


def draw(path: Path, rows: Sequence[Row], cpu: str) -> None:
    """Draw a panel for each side: the ten medians with their ranges, in percent of the side's median."""
    style = find_style("web")
    with drawing(style):
        figure, axes = sheet(style, len(SIDES))
        for axis, side in zip(axes, SIDES, strict=True):
            own = [row for row in rows if row["side"] == side]
            middle = median([float(row["prefill_tps"]) for row in own])
            spans = [Span(*(100 * float(row[name]) / middle - 100 for name in _FIGURES), "interval") for row in own]
            axis.axhline(0, color="#999999", linewidth=0.8)
            axis.errorbar(
                range(1, len(spans) + 1),
                [span.value for span in spans],
                yerr=error_bars(spans),
                linestyle="none",
                color=_COLOURS[side],
                **mark(_COLOURS[side], "o", "hollow"),
            )
            axis.set_xticks(range(1, len(spans) + 1))
            axis.set_xlabel("environment")
            name_panel(axis, side, style)
        lows, highs = zip(*(axis.get_ylim() for axis in axes), strict=True)
        for axis in axes:
            axis.set_ylim(min(lows), max(highs))
        axes[0].set_ylabel("prefill, % from the middle of the ten")
        finish(
            figure,
            style,
            title="One cell in ten environments that should not matter",
            subtitle="",
            words=f"Prefill of 32 tokens, SmolLM2-135M Q8_0, 1 thread, {cpu}. Each mark is the median of "
            f"{rows[0]['turns']} turns with its 95 % interval. The environments differ in the model's path, absolute "
            "in 1 to 5 and relative in 6 to 10, and in an unrelated variable. All take turns. Synthetic weights.",
            handles=[],
        )
        with atomic_path(path) as part:
            figure.savefig(part, format="png", metadata={"Software": None})
        plt.close(figure)
