"""`slmprof plot`: charts of results files."""

from pathlib import Path

import click


@click.command()
@click.argument("results", metavar="RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder for the charts.")
@click.option("--format", "formats", multiple=True, type=click.Choice(["png", "svg", "pdf"]),
              help="File format; may be given several times.  [default: png]")  # fmt: skip
@click.option("--style", type=click.Choice(["paper", "slide", "web"]), default="paper", show_default=True,
              help="Sizes for a paper's column, a slide, or a page.")  # fmt: skip
@click.option("--columns", type=click.IntRange(1, 2), help="Make every chart as wide as one or two columns.  "
              "[default: as many as its panels need]")  # fmt: skip
@click.option("--chart", "charts", metavar="NAMES", help="Draw only these, comma-separated; see the list above.")
@click.option("--operators", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="What slmprof operators --json wrote; may be given several times.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Draw all of very large results, too.  [default: of over 2000 "
              "cells some, unless --chart names charts]")  # fmt: skip
@click.option("--reference", is_flag=True, help="Show published results of other boards faintly behind latency.")
def plot(
    results: tuple[Path, ...],
    output: Path,
    formats: tuple[str, ...],
    style: str,
    columns: int | None,
    charts: str | None,
    operators: tuple[Path, ...],
    everything: bool,
    reference: bool,
) -> None:
    """Draw charts, and write beside each the figures that are in it, as NAME.csv.

    A chart of which the results have no figures is left out, and why is said. Results of several devices may be given
    together: each device gets its charts, and two charts compare them.

    \b
    latency-vs-parameters   prefill, first token and decode against model size
    speed-vs-threads        tokens per second, and what perfect scaling would be
    memory-by-part          what the memory is used for
    decode-vs-size          what a smaller file buys
    level-tradeoff          speed, memory (and quality) of each level, by model
    pareto                  the levels that no other level beats
    inter-token-latency     how the gaps between tokens are spread
    speed-vs-depth          how a long context slows down
    roofline                decode against the memory's limit
    drift                   whether the device kept its speed over the sweep
    device-comparison, device-facets   several devices beside each other
    operators               where the time goes (with --operators)

    \b
    slmprof plot results.jsonl -o charts
    slmprof plot results.jsonl -o charts --format svg --format pdf --style slide
    slmprof plot pi5.jsonl mac.jsonl -o charts --chart device-comparison,pareto --columns 1
    """
    from plots.charts.operators import read_reports
    from plots.render.draw import draw_all
    from plots.render.sampling import MANY_CELLS, some_of
    from profiler.analysis.summarise import summarise
    from profiler.cli.results import load, say_of_quality

    found = load(results)

    def say(line: str) -> None:
        click.echo(line, err=True)

    say_of_quality(found)
    if not everything and charts is None:
        found, left = some_of(found)
        if left:
            say(f"{left}, since there are over {MANY_CELLS} cells; --all or --chart draws all.")
    for path in draw_all(
        summarise(found),
        found.environments,
        output,
        formats=formats or ("png",),
        style=style,
        say=say,
        results=found,
        operators=read_reports(operators),
        chosen=None if charts is None else [name.strip() for name in charts.split(",") if name.strip()],
        columns=columns,
        reference=reference,
    ):
        click.echo(path)
