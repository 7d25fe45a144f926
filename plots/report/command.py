"""`slmprof report`: a page of results files for somebody else to read."""

from pathlib import Path

import click


@click.command()
@click.argument("results", metavar="RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", "outputs", multiple=True, required=True, type=click.Path(path_type=Path),
              help="report.html or report.md; may be given several times.")  # fmt: skip
def report(results: tuple[Path, ...], outputs: tuple[Path, ...]) -> None:
    """Write a report: the answer, charts, the table of cells, warnings, the device, and the commands.

    report.html is one file that works anywhere: from a disk, in a mail, without the network. report.md is for pull
    requests and wikis, and has no charts.

    \b
    slmprof report results.jsonl -o report.html
    slmprof report pi5.jsonl mac.jsonl -o report.html -o report.md
    """
    from plots.report.write import check_forms, write_reports
    from profiler.cli.results import load

    check_forms(outputs)
    write_reports(load(results), outputs, results_name=" ".join(path.name for path in results))
    for path in outputs:
        click.echo(path)
