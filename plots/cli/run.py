"""`slmprof run`: everything in one command. It stands here because it draws, and only plots may import all."""

from pathlib import Path
from typing import Any

import click

from profiler.cli.options import axes_of, levels_of, profile_options, run_options_of
from quant.base.errors import UserError


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@profile_options
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="The folder for all that is made."
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["png", "svg", "pdf"]),
    help="File format of the charts; may be given several times.  [default: png]",
)
@click.option(
    "--style",
    type=click.Choice(["paper", "slide", "web"]),
    default="paper",
    show_default=True,
    help="Sizes of the charts, for a paper's column, a slide, or a page.",
)
@click.option("--quality", is_flag=True, help="Measure also what each level costs, as slmprof quality does.")
def run(
    sources: tuple[str, ...], folder: Path, formats: tuple[str, ...], style: str, quality: bool, **options: Any
) -> int:
    """Take checkpoints to charts: fetch, convert, quantize, measure, draw.

    SOURCE is a name from slmprof models, a hub id like org/name, a checkpoint's directory, or a .gguf file. Lists are
    crossed: each file under each combination of settings is a cell. In the folder are then models/ with the GGUF files,
    results.jsonl with every round, table.md and results.csv, charts/, and report.html. The same command again does what
    is missing and draws anew.

    \b
    slmprof run smollm2-135m -o results/
    slmprof run ./my-checkpoint -q F16,Q8_0,Q4_K_M -t 1,2 --workload bench,chat -o results/
    """
    from profiler.cli.profile import measure_and_show
    from profiler.cli.quality import measure_quality
    from profiler.cli.results import load
    from profiler.device.environment import physical_cores
    from profiler.quality.choose import refusal
    from profiler.quality.session import QualityOptions
    from profiler.quality.table import quality_table
    from profiler.sweep.session import Request
    from quant.sources.prepare import DEFAULT_LEVELS, Wishes

    request = Request(
        sources=sources,
        wishes=Wishes(
            levels=levels_of(options["levels"]),
            models_dir=folder / "models",
            hub_levels=DEFAULT_LEVELS,
            synthetic=options["weights"] == "synthetic",
            imatrix=options["imatrix"],
            pre=options["pre"],
        ),
        axes=axes_of(options, default_workload="bench,chat"),
        options=run_options_of(options),
        results=folder / "results.jsonl",
        sweep_file=options["sweep"],
        zipped=options["zipped"],
        fresh=options["fresh"],
    )
    if quality and request.wishes.synthetic:
        raise refusal(sources[0])
    outcome = measure_and_show(request)
    n_failed = outcome.n_failed
    if quality:
        try:
            n_failed += measure_quality(
                list(sources),
                request.wishes,
                request.results,
                QualityOptions(n_threads=physical_cores(), repack=not options["no_repack"]),
            )
            click.echo(quality_table(load([request.results])), nl=False)
        except UserError:  # what was measured so far is not to end without its report
            write_reports(request.results, folder, formats or ("png",), style)
            raise
    write_reports(request.results, folder, formats or ("png",), style)
    return 1 if n_failed else 0


def write_reports(results: Path, folder: Path, formats: tuple[str, ...], style: str) -> None:
    """Write the table, the figures and the charts of a results file into a folder; name them on stderr."""
    from plots.render.draw import draw_all
    from plots.report.write import write_reports as write_pages
    from profiler.analysis.summarise import summarise
    from profiler.cli.results import export_text, load
    from quant.base.files import write_text

    found = load([results])
    write_text(folder / "table.md", export_text(found, "md", None))
    write_text(folder / "results.csv", export_text(found, "csv", None))

    def say(line: str) -> None:
        click.echo(line, err=True)

    summaries = summarise(found)
    if any(summary.rounds for summary in summaries):
        draw_all(summaries, found.environments, folder / "charts", formats=formats, style=style, say=say, results=found)
    write_pages(found, [folder / "report.html", folder / "report.md"])
    say(f"report.html, report.md, table.md, results.csv, results.jsonl, models/ and charts/ are in {folder}")
