"""`slmprof plot`: charts of results files."""

from pathlib import Path
from typing import Any

import click

from plots.cli.options import formats_option, style_option
from profiler.cli.options import PATH
from quant.base.errors import UserError


@click.command()
@click.argument("results", metavar="[RESULTS]...", nargs=-1, type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the charts.")
@formats_option
@style_option
@click.option("--columns", type=click.IntRange(1, 2), help="Make every chart as wide as one or two columns.  "
              "[default: as many as its panels need]")  # fmt: skip
@click.option("--chart", "charts", metavar="NAMES", help="Draw only these, comma-separated; see the list above.")
@click.option("--operators", multiple=True, type=PATH, metavar="FILE",
              help="Output of slmprof operators --json; repeat it for several.")  # fmt: skip
@click.option("--estimates", multiple=True, type=PATH, metavar="FILE",
              help="Output of slmprof estimate --json, drawn hollow with ranges; repeat it for several.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Draw very large results whole.  [default: of over 2000 cells "
              "a part, unless --chart names charts]")  # fmt: skip
@click.option("--reference", is_flag=True, help="Show published results of other boards faintly behind latency, and "
              "draw published-levels.")  # fmt: skip
def plot(results: tuple[Path, ...], output: Path, **options: Any) -> None:
    """Draw charts, and write the figures in each to NAME.csv next to it.

    Charts without data are omitted; one line names them and the reasons. Pass results of several devices together:
    each device gets its charts, and two charts compare them.

    \b
    latency-vs-parameters   prefill, first token and decode against model size, or by level of one or two models
    latency-vs-active-parameters   the same against active parameters, where there are mixtures of experts
    speed-vs-threads        tokens per second, and what perfect scaling would be
    memory-by-part          what the memory is used for
    decode-vs-size          what a smaller file buys
    level-tradeoff          speed, memory (and quality) of each level, by model
    pareto                  the levels that no other level beats
    published-levels        levels beside a Raspberry Pi 5's (with --reference)
    inter-token-latency     how the gaps between tokens are spread
    speed-vs-depth          how a long context slows down
    roofline                decode against the memory's limit
    drift                   whether the device kept its speed over the sweep
    device-comparison, device-facets   several devices side by side
    operators               where the time goes (with --operators)

    \b
    slmprof plot results.jsonl -o charts
    slmprof plot results.jsonl -o charts --format svg --format pdf --style slide
    slmprof plot pi5.jsonl mac.jsonl -o charts --chart device-comparison,pareto --columns 1
    slmprof plot --estimates estimate.json --reference -o charts
    """
    from plots.canvas.chart_input import chart_input
    from plots.charts.operators import read_reports
    from plots.render.draw import DrawOptions, draw_all
    from plots.render.sampling import MANY_CELLS, restricted, sampled
    from profiler.analysis.summarise import summarise
    from profiler.cli.results import load, warn_of_quality
    from profiler.export.estimates import read_estimates
    from quant.base.progress import say

    if not (results or options["estimates"] or options["operators"]):
        raise UserError("name a results file, like slmprof plot results.jsonl -o charts, or use --estimates FILE")
    charts = options["charts"]
    found = load(results)
    warn_of_quality(found)
    cells = summarise(found)
    if charts is None and not options["everything"] and len(cells) > MANY_CELLS:
        cells, omitted = sampled(cells)
        found = restricted(found, cells)
        if omitted:
            say(f"{omitted}, since there are over {MANY_CELLS} cells; --all or --chart draws all.")
    inputs = chart_input(cells, found, read_reports(options["operators"]), read_estimates(options["estimates"]))
    how = DrawOptions(
        formats=options["formats"] or ("png",),
        style=options["style"],
        columns=options["columns"],
        chosen=None if charts is None else [name.strip() for name in charts.split(",") if name.strip()],
        reference=options["reference"],
    )
    for path in draw_all(inputs, output, how, say=say):
        click.echo(path)
