"""`slmprof recommend`: limits in, one choice out."""

from pathlib import Path
from typing import Any

import click

from profiler.cli.options import results_argument
from profiler.cli.options.limits import criteria_of, limit_options
from quant.base.errors import UserError


@click.command()
@results_argument
@limit_options
@click.option("--model", metavar="NAME", help="Only this model, where the results hold several.")
@click.option("--workload", metavar="NAME", help="Only this workload, where the results hold several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the choice, its reason, its competitors.")
def recommend(results: tuple[Path, ...], model: str | None, workload: str | None, as_json: bool, **options: Any) -> int:
    """Choose a level and a thread count within limits, and explain the choice, its competitors and the near misses.

    A limit is met when the whole interval meets it. Overlapping intervals are a tie, which the next criterion decides.
    Without measured quality, more bits per weight are taken as better. Flagged cells are not chosen without --flagged.
    The exit status is 1 when nothing fits.

    \b
    slmprof recommend results.jsonl --max-memory 512MiB --min-decode 8
    slmprof recommend results.jsonl --max-ttft 1s --n-ctx 4096 --workload chat
    slmprof recommend results.jsonl --prefer speed=2,memory=1,quality=1 --json
    """
    from profiler.analysis.quality_by_file import comparable
    from profiler.analysis.summarise import summarise
    from profiler.cli.results import load
    from profiler.recommend.choose import narrowed
    from profiler.recommend.choose import recommend as choose
    from profiler.recommend.text import render, to_json

    criteria = criteria_of(options)
    found = load(results)
    if criteria.limits.max_kld is not None and (problem := comparable(found).problem):
        raise UserError(problem)
    summaries = narrowed(summarise(found), model=model, workload=workload)
    if not summaries:
        raise UserError(f"{results[0].name} holds no measured cells yet; measure some with slmprof profile")
    chosen = choose(summaries, criteria, results_name=results[0].name)
    click.echo(to_json(chosen) if as_json else render(chosen, found.environments), nl=False)
    return 0 if any(choice.chosen for choice in chosen.choices) else 1
