"""`slmprof profile`: measure, append, show the table."""

from pathlib import Path
from typing import Any

import click

from profiler.cli.options import axes_of, levels_of, profile_options, run_options_of


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@profile_options
@click.option(
    "-o",
    "--output",
    "results",
    type=click.Path(path_type=Path),
    required=True,
    help="The results file; new rounds are appended.",
)
def profile(sources: tuple[str, ...], results: Path, **options: Any) -> int:
    """Measure speed and memory of every level and thread count, and append each round to a results file.

    SOURCE is a name from slmprof models, a hub id like org/name, a checkpoint's directory, or a .gguf file. Lists are
    crossed: each file under each combination of settings is a cell. What is in the results file already is not
    measured again, so the same command goes on where it was stopped.

    \b
    slmprof profile smollm2-135m -q Q4_K_M,Q8_0 -t 1,2,4 -o results.jsonl
    slmprof profile model.gguf -p 512 -n 128 -d 0,4096 -o results.jsonl
    """
    from profiler.sweep.session import Request
    from quant.base.files import cache_dir
    from quant.sources.prepare import Wishes

    request = Request(
        sources=sources,
        wishes=Wishes(
            levels=levels_of(options["levels"]),
            models_dir=cache_dir() / "models",
            synthetic=options["weights"] == "synthetic",
            imatrix=options["imatrix"],
            pre=options["pre"],
        ),
        axes=axes_of(options, default_workload="bench"),
        options=run_options_of(options),
        results=results,
        sweep_file=options["sweep"],
        zipped=options["zipped"],
        fresh=options["fresh"],
    )
    outcome = measure_and_show(request)
    return 1 if outcome.n_failed else 0


def measure_and_show(request: Any) -> Any:
    """Run a session under a progress bar and print its table on stdout."""
    from profiler.analysis.time_parts import describe_time, time_parts
    from profiler.cli.progress.bar import progress_bar
    from profiler.cli.progress.lines import sweep_view
    from profiler.cli.results import load, table_of
    from profiler.sweep.session import run_session
    from quant.sources.prepare import prepare

    view = sweep_view()
    say = view.say

    def files() -> list[Any]:
        with progress_bar() as progress:
            return prepare(request.sources, request.wishes, progress=progress, say=say)

    with view:
        outcome = run_session(request, files=files, view=view)
    if words := describe_time(time_parts(view.rounds, view.ended_ns - view.begun_ns)):
        say(words)
    if outcome.n_left:
        say(f"the budget is used up with {outcome.n_left} rounds left; run the same command again to go on")
    click.echo(table_of(load([request.results])), nl=False)
    return outcome
