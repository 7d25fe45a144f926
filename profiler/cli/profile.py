"""`slmprof profile`: measure, append, show the table."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import results_option, sources_argument
from profiler.cli.options.measure import MeasureOptions, measure_options

if TYPE_CHECKING:
    from profiler.sweep.session import Request
    from profiler.sweep.sweep import Outcome
    from quant.sources.prepare import Prepared


@click.command()
@sources_argument
@measure_options
@results_option
def profile(sources: tuple[str, ...], results: Path, **options: Any) -> int:
    """Measure speed and memory of every level and thread count, and append each round to a results file.

    SOURCE is a name from slmprof models, a hub id like org/name, a checkpoint directory, or a .gguf file. Lists are
    crossed: each file under each combination of settings is a cell. Rounds that are in the results file already are not
    measured again, so the same command goes on where it was stopped.

    \b
    slmprof profile smollm2-135m -q Q4_K_M,Q8_0 -t 1,2,4 -o results.jsonl
    slmprof profile model.gguf -p 512 -n 128 -d 0,4096 -o results.jsonl
    """
    from quant.base.files import cache_dir

    request = MeasureOptions(**options).request(
        sources, results, models_dir=cache_dir() / "models", default_workload="bench"
    )
    outcome = measure_and_show(request)
    return 1 if outcome.n_failed else 0


def measure_and_show(request: "Request") -> "Outcome":
    """Run a session under a progress bar and print its table on stdout."""
    import msgspec

    from profiler.cli.results import load, table_of
    from quant.base.files import readable_again

    with readable_again(request.results) as results:
        outcome = _measured(msgspec.structs.replace(request, results=results))
        table = table_of(load([results]))
    click.echo(table, nl=False)
    return outcome


def _measured(request: "Request") -> "Outcome":
    from profiler.analysis.time_parts import describe_time, time_parts
    from profiler.cli.progress.bar import progress_bar
    from profiler.cli.progress.view import sweep_view
    from profiler.sweep.session import run_session
    from quant.base.progress import watch
    from quant.sources.prepare import prepare

    view = sweep_view()

    def files() -> "list[Prepared]":
        with progress_bar():
            return prepare(request.sources, request.prepare_options)

    with view, watch(say=view.say):
        outcome = run_session(request, files=files, view=view)
    if words := describe_time(time_parts(view.state.rounds, view.state.elapsed_ns, view.state.drift_ns)):
        view.say(words)
    if outcome.n_left:
        view.say(f"the budget is used up with {outcome.n_left} rounds left; run the same command again to go on")
    return outcome
