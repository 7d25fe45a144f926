"""`slmprof run`: everything in one command. It is part of plots because it draws."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plots.cli.options import formats_option, style_option
from profiler.cli.options import PATH, sources_argument
from profiler.cli.options.measure import MeasureOptions, measure_options
from quant.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profiler.pick.session import Pick
    from profiler.sweep.session import Request
    from profiler.tasks.session import TaskOptions


@click.command()
@sources_argument
@measure_options
@click.option("-o", "--output", "folder", type=PATH, required=True, help="The folder for all output.")
@formats_option
@style_option
@click.option("--quality", is_flag=True, help="Also measure perplexity and KLD of each level, as slmprof quality does.")
@click.option(
    "--tasks",
    "task_names",
    metavar="NAMES",
    help="Also measure accuracy of each level in these tasks, as slmprof tasks does: offline, or hellaswag,arc_easy.",
)
def run(
    sources: tuple[str, ...],
    folder: Path,
    formats: tuple[str, ...],
    style: str,
    quality: bool,
    task_names: str | None,
    **options: Any,
) -> int:
    """Convert, quantize, measure and plot in one go.

    SOURCE is a name from slmprof models, a hub id like org/name, a checkpoint directory, or a .gguf file. Lists are
    crossed: each file under each combination of settings is a cell. The folder gets models/ with the GGUF files,
    results.jsonl with every round, table.md and results.csv, charts/, report.html and report.md. The same command again
    does what is missing and draws everything again.

    \b
    slmprof run smollm2-135m -o results/
    slmprof run ./my-checkpoint -q F16,Q8_0,Q4_K_M -t 1,2 --workload bench,chat -o results/
    """
    from profiler.cli.profile import measure_and_show
    from quant.sources.prepare import DEFAULT_LEVELS
    from quant.sources.real_weights import refusal

    request = MeasureOptions(**options).request(
        sources,
        folder / "results.jsonl",
        models_dir=folder / "models",
        default_workload="bench,chat",
        hub_levels=DEFAULT_LEVELS,
    )
    if (quality or task_names) and request.prepare_options.synthetic:
        raise refusal(sources[0])
    task_options = _task_options(task_names, repack=not options["no_repack"]) if task_names else None
    n_failed = measure_and_show(request).n_failed
    try:
        if quality:
            n_failed += _measure_quality(sources, request, repack=not options["no_repack"])
        if task_options is not None:
            n_failed += _measure_tasks(sources, request, task_options)
    except UserError:  # the measured speeds get their report all the same
        write_reports(request.results, folder, formats or ("png",), style)
        raise
    write_reports(request.results, folder, formats or ("png",), style)
    return 1 if n_failed else 0


def _measure_quality(sources: tuple[str, ...], request: "Request", *, repack: bool) -> int:
    """Score the files with each KV cache of the sweep, print the table, and return how many could not be scored."""
    from profiler.cli.quality import measure_quality
    from profiler.cli.results import load
    from profiler.device.environment import physical_cores
    from profiler.quality.session import QualityOptions
    from profiler.quality.table import quality_table
    from profiler.records.config import crossed
    from profiler.sweep.session import grids_of

    caches = tuple(dict.fromkeys(each for grid in grids_of(request) for each in crossed(grid.ctk, grid.ctv)))
    quality_options = QualityOptions(n_threads=physical_cores(), repack=repack, caches=caches)
    n_failed = measure_quality(list(sources), request.prepare_options, request.results, quality_options)
    click.echo(quality_table(load([request.results])), nl=False)
    return n_failed


def _task_options(names: str, *, repack: bool) -> "TaskOptions":
    from profiler.cli.tasks import names_of
    from profiler.device.environment import physical_cores
    from profiler.tasks.session import HarnessProcess, TaskOptions

    options = TaskOptions(names=names_of(names), n_threads=physical_cores(), repack=repack)
    HarnessProcess(options).close()  # an unknown task is not to be found after hours
    return options


def _measure_tasks(sources: tuple[str, ...], request: "Request", options: "TaskOptions") -> int:
    """Put the tasks to the files, print the tables, and return how many have no answer."""
    from profiler.cli.results import load
    from profiler.cli.tasks import measure_tasks
    from profiler.tasks.table import tasks_table

    n_failed = measure_tasks(list(sources), request.prepare_options, request.results, options)
    click.echo(tasks_table(load([request.results])), nl=False)
    return n_failed


def write_reports(
    results: Path, folder: Path, formats: tuple[str, ...], style: str, picks: "Sequence[Pick]" = ()
) -> None:
    """Write table, CSV file, charts and reports of a results file into a folder; list them on stderr."""
    from plots.canvas.chart_input import chart_input
    from plots.render.draw import DrawOptions, draw_all, draw_races
    from plots.report.write import write_reports as write_pages
    from profiler.analysis.summarise import summarise
    from profiler.cli.results import export_text, load
    from quant.base.files import write_text
    from quant.base.progress import say

    found = load([results])
    write_text(folder / "table.md", export_text(found, "md", None))
    write_text(folder / "results.csv", export_text(found, "csv", None))

    summaries = summarise(found)
    if any(summary.rounds for summary in summaries):
        how = DrawOptions(formats=formats, style=style)
        draw_all(chart_input(summaries, found), folder / "charts", how, say=say)
        draw_races(picks, folder / "charts", how)
    write_pages(found, [folder / "report.html", folder / "report.md"], picks=picks)
    say(f"report.html, report.md, table.md, results.csv, results.jsonl, models/ and charts/ are in {folder}")
