"""`slmprof plot`: charts of results files."""

from pathlib import Path

import click

from plots.compare_command import compare as compare


@click.command()
@click.argument("results", metavar="RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder for the charts.")
@click.option("--format", "formats", multiple=True, type=click.Choice(["png", "svg", "pdf"]),
              help="File format; may be given several times.  [default: png]")  # fmt: skip
@click.option("--style", type=click.Choice(["paper", "slide", "web"]), default="paper", show_default=True,
              help="Sizes for a paper's column, a slide, or a page.")  # fmt: skip
def plot(results: tuple[Path, ...], output: Path, formats: tuple[str, ...], style: str) -> None:
    """Draw charts: latency against parameters, speed against threads, memory by part, decode against file size.

    \b
    slmprof plot results.jsonl -o charts
    slmprof plot results.jsonl -o charts --format svg --format pdf --style slide
    """
    from plots.draw import draw_all
    from profiler.cli.results import load
    from profiler.summarise import summarise

    found = load(results)

    def say(line: str) -> None:
        click.echo(line, err=True)

    for path in draw_all(
        summarise(found), found.environments, output, formats=formats or ("png",), style=style, say=say
    ):
        click.echo(path)
