"""Where the time of a prefill and of a decode step goes, by operator: the output of `slmprof operators --json`."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from plots.canvas.chart_input import ChartInput, Picture, Row
from plots.canvas.panels import numbered
from plots.canvas.sheet import finish, sheet
from plots.canvas.style import Style
from plots.canvas.text_width import printable
from plots.canvas.theme import Theme
from profiler.export.printed import read_printed
from profiler.operators.report import OperatorReport
from profiler.operators.summary import Breakdown, BreakdownRow
from quant.base.text import counted
from quant.base.units import format_params

_MOST_ROWS = 9
# Not the colours of levels. Source: Paul Tol, Colour Schemes (2021), "muted".
_COLOUR = "#44AA99"
_MS = 1e6


def read_reports(paths: Sequence[Path]) -> list[OperatorReport]:
    """Read the output of `slmprof operators --json`.

    Raises:
        UserError: a file cannot be read, or is something else.
    """
    return [read_printed(path, OperatorReport, "slmprof operators --json") for path in paths]


def operator_charts(inputs: ChartInput, theme: Theme) -> Iterator[tuple[str, Picture | str]]:
    """Draw a chart for each report."""
    if not inputs.operators:
        yield "", "use --operators FILE, the output of slmprof operators --json"
    seen: Counter[str] = Counter()
    for report in inputs.operators:
        model = "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in report.model)[:60]
        level = printable(report.level)[:24].replace("/", "_")
        name = numbered(f"{model}-{level}-t{report.n_threads}", seen)
        phases = {phase: found for phase, found in report.phases.items() if found.operators}
        yield name, _chart(report, phases, theme.style) if phases else "no operator took any time"


def _chart(report: OperatorReport, phases: Mapping[str, Breakdown], style: Style) -> Picture:
    figure, axes = sheet(style, len(phases), 1, panel=(1.45 * (_MOST_ROWS + 1) + 4) * style.font / 72)
    rows: list[Row] = []
    for axis, (phase, found) in zip(axes, phases.items(), strict=True):
        shown = _folded(found.operators)
        _bars(axis, shown, style)
        what = f"prefill of {found.n_tokens} tokens" if phase == "prefill" else "one decode step"
        axis.set_title(f"{what}, {found.sums.plain_ns / _MS:.3g} ms", loc="left")
        for kind, items in (("operator", found.operators), ("module", found.modules)):
            rows += [
                {"phase": phase, "depth": found.depth, "n_tokens": found.n_tokens, "of": kind, "name": row.name,
                 "calls": row.calls, "time_ns": row.ns, "share": row.share, "n_bytes": row.n_bytes,
                 "n_flops": row.n_flops, "bytes_per_s": row.bytes_per_s, "flops_per_s": row.flops_per_s,
                 "model": report.model, "quant": report.level, "n_threads": report.n_threads,
                 "env_id": report.env_id}
                for row in items
            ]  # fmt: skip
    modules = "; ".join(
        f"{phase}: " + ", ".join(f"{printable(row.name)} {row.share:.0%}" for row in found.modules)
        for phase, found in phases.items()
    )
    synthetic = report.weights != "real"
    shape = f" Synthetic weights in the shape of {printable(report.standin_for or '?')}." if synthetic else ""
    backends = "+".join(map(printable, report.backends))
    words = (
        f"{printable(report.model)} ({format_params(report.n_params, report.n_params_active)}), "
        f"{printable(report.level)}, "
        f"{counted(report.n_threads, 'thread')}; {printable(report.cpu_model)}, "
        f"llama.cpp {printable(report.llama_commit)}, {backends}.{shape} Medians of {report.reps} repetitions, less "
        "the cost of observing each operator; the time in the title is that of unobserved runs, and one report has no "
        f"range. By module: {modules}."
    )
    finish(
        figure,
        style,
        title="Where the time goes",
        subtitle="synthetic weights" if synthetic else "",
        words=words,
        handles=[],
    )
    return Picture(figure, rows)


def _folded(operators: Sequence[BreakdownRow]) -> list[tuple[str, float]]:
    """Return the slowest operators' names and shares, and the others as one."""
    items = [(printable(row.name), row.share) for row in operators]
    if len(items) <= _MOST_ROWS + 1:
        return items
    return [*items[:_MOST_ROWS], (f"{len(items) - _MOST_ROWS} others", sum(share for _, share in items[_MOST_ROWS:]))]


def _bars(axis: Axes, shown: Sequence[tuple[str, float]], style: Style) -> None:
    places = range(len(shown))
    axis.barh(places, [100 * share for _, share in shown], height=0.66, color=_COLOUR)
    for place, (_, share) in zip(places, shown, strict=True):
        axis.annotate(f"{100 * share:.3g}", (100 * max(share, 0.0), place), xytext=(0.4 * style.font, 0),
                      textcoords="offset points", va="center", fontsize=style.font - 1)  # fmt: skip
    axis.set_yticks(places, [name for name, _ in shown])
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.set_xlim(0, 100 * max(share for _, share in shown) * 1.2)
    axis.set_xlabel("share of the time, %")
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
