"""`slmprof report`: a page about results files for other people to read."""

import shlex
from pathlib import Path
from typing import Any

import click

from profiler.cli.options import PATH, results_argument
from profiler.cli.options.limits import criteria_of, limit_options


@click.command()
@results_argument
@click.option("-o", "--output", "outputs", multiple=True, required=True, type=PATH,
              help="report.html or report.md; repeat it for several.")  # fmt: skip
@limit_options
def report(results: tuple[Path, ...], outputs: tuple[Path, ...], **options: Any) -> None:
    """Write a report: the answer, charts, the table of cells, warnings, the device, and the commands.

    report.html is one self-contained file that needs no network. report.md is for pull requests and wikis, and has no
    charts. The answer is what slmprof recommend chooses within the limits. Without limits it weighs speed, memory and
    quality equally where quality was measured, else the fastest file wins.

    \b
    slmprof report results.jsonl -o report.html
    slmprof report results.jsonl --max-memory 1GiB --min-decode 8 -o report.html
    slmprof report pi5.jsonl mac.jsonl -o report.html -o report.md
    """
    from plots.report.write import check_forms, write_reports
    from profiler.cli.results import load
    from profiler.recommend.records import Criteria

    check_forms(outputs)
    criteria = criteria_of(options)
    results_name = " ".join(shlex.quote(path.name) for path in results)
    write_reports(
        load(results),
        outputs,
        results_name=results_name,
        criteria=None if criteria == Criteria() else criteria,
        asked=_typed(options),
    )
    for path in outputs:
        click.echo(path)


def _typed(options: dict[str, Any]) -> str:
    """Return the options as they can be typed again."""
    parts = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in options.items()
             if value is not None and not isinstance(value, bool)]  # fmt: skip
    return " ".join([*parts, *(f"--{name}" for name in ("flagged", "sustained") if options[name])])
