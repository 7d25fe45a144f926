"""`slmprof compare`: two results files against each other."""

import sys
from pathlib import Path
from typing import Any

import click

from plots.cli.options import style_option
from profiler.cli.options import PATH
from quant.base.text import pretty_json


def percent(_: click.Context, __: click.Parameter, text: str | None) -> float:
    """Read 3% or 3."""
    try:
        value = float((text or "0").removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < 100:
        raise click.BadParameter(f"'{text}' is not a percentage; write one like 3%")
    return value


_DATED = {"svg": "Date", "pdf": "CreationDate"}


@click.command()
@click.argument("base", metavar="BASE.jsonl", type=PATH)
@click.argument("new", metavar="NEW.jsonl", type=PATH)
@click.option("--by", type=click.Choice(["level", "threads", "device"]),
              help="Compare cells that differ in this setting only.")  # fmt: skip
@click.option("--threshold", metavar="PCT", callback=percent,
              help="With --fail-on-regression: the allowed slow-down, like 3%.  [default: 0%]")  # fmt: skip
@click.option("--fail-on-regression", is_flag=True, help="Exit with 1 on a significant slow-down beyond "
              "the threshold, and on a cell that was measured before and fails now.")  # fmt: skip
@click.option("--chart", metavar="FILE", type=PATH,
              help="Draw the ratios as PNG, SVG or PDF, with a CSV file next to it.")  # fmt: skip
@style_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(base: Path, new: Path, **options: Any) -> None:
    """Compare two results files: two builds, two boards, before and after a change.

    Cells of the same model, level and settings are matched. A difference is significant when it is more than chance
    between rounds (a permutation test, adjusted for the number of tests). It needs six rounds on each side; ten find a
    slow-down of 5 % in noise of 2 %.

    \b
    slmprof compare before.jsonl after.jsonl
    slmprof compare before.jsonl after.jsonl --fail-on-regression --threshold 3%
    slmprof compare results.jsonl results.jsonl --by level --chart levels.png
    """
    from profiler.cli.results import load
    from profiler.compare.comparison import compare_results
    from profiler.compare.text import render_comparison

    found = load([base])
    comparison = compare_results(found, found if base == new else load([new]), options["by"])
    if options["as_json"]:
        click.echo(pretty_json(comparison))
    else:
        click.echo(render_comparison(comparison), nl=False)
    if options["chart"] is not None:
        _draw(comparison, options["chart"], options["style"], (base.name, new.name))
    if options["fail_on_regression"]:
        sys.exit(_check(comparison, options["threshold"]))


def _check(comparison: Any, threshold: float) -> int:
    """Print significant slow-downs beyond the threshold and cells that fail now; return the exit status."""
    from profiler.compare.text import describe_cell, describe_slow_down

    slow, broken = comparison.slow_downs(threshold), comparison.broken()
    for pair, change in slow:
        click.echo(f"slow-down: {describe_slow_down(pair, change, comparison.by)}", err=True)
    for cell in broken:
        click.echo(f"{cell.status} now, and measured before: {describe_cell(cell)}", err=True)
    if not any(change.p is not None for pair in comparison.pairs for change in pair.changes):
        click.echo("nothing could be tested for a slow-down: no matched cell has six rounds on each side", err=True)
    return 1 if slow or broken else 0


def _draw(comparison: Any, path: Path, style: str, labels: tuple[str, str]) -> None:
    import matplotlib.pyplot as plt

    from plots.canvas.style import FORMATS, drawing, find_style
    from plots.charts.comparison import compare_chart, compare_csv
    from quant.base.errors import UserError
    from quant.base.files import atomic_path, write_text

    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise UserError(f"unknown format of chart {path.name}; end its name with .{', .'.join(FORMATS)}")
    look = find_style(style)
    with drawing(look):
        made = compare_chart(comparison, look, labels)
        if isinstance(made, str):
            click.echo(f"no chart: {made}", err=True)
            return
        try:
            with atomic_path(path) as part:
                # Without a date, the same results give the same bytes.
                made.savefig(part, format=form, metadata={_DATED[form]: None} if form in _DATED else {})
        finally:
            plt.close(made)
    table = path.with_suffix(".csv")
    write_text(table, compare_csv(comparison))
    click.echo(f"{path}\n{table}", err=True)
