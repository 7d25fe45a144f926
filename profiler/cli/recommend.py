"""`slmprof recommend`: limits in, one choice out."""

from pathlib import Path
from typing import Any

import click

from profiler.cli.options import PATH, results_argument
from profiler.cli.options.limits import criteria_of, limit_options
from quant.base.errors import UserError


@click.command()
@results_argument
@limit_options
@click.option("--model", metavar="NAME", help="Only this model, where the results hold several.")
@click.option("--workload", metavar="NAME", help="Only this workload, where the results hold several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the choice, its reason, its competitors.")
@click.option("-o", "--output", metavar="DIR", type=PATH, help="Also write what runs the choice into DIR/deploy/.")
def recommend(
    results: tuple[Path, ...],
    model: str | None,
    workload: str | None,
    as_json: bool,
    output: Path | None,
    **options: Any,
) -> int:
    """Choose a level and a thread count within limits, and explain the choice, its competitors and the near misses.

    A limit is met when the whole interval meets it. Overlapping intervals are a tie, which the next criterion decides.
    Without measured quality, more bits per weight are taken as better. Flagged cells are not chosen without --flagged.
    The exit status is 1 when nothing fits.

    The last lines run the choice in llama-server and measure it again. -o writes the same for llama-cli, Ollama,
    llama-server's models file and llama-cpp-python.

    \b
    slmprof recommend results.jsonl --max-memory 512MiB --min-decode 8
    slmprof recommend results.jsonl --max-ttft 1s --n-ctx 4096 --workload chat
    slmprof recommend results.jsonl --prefer speed=2,memory=1,quality=1 --json
    slmprof recommend results.jsonl --n-ctx 4096 -o results/
    """
    from profiler.analysis.quality_by_file import comparable
    from profiler.analysis.summarise import summarise
    from profiler.cli.results import load
    from profiler.deploy.files import find_model
    from profiler.recommend.choose import narrowed
    from profiler.recommend.choose import recommend as choose
    from profiler.recommend.deployment import with_deploy, write_choices
    from profiler.recommend.text import render, to_json

    criteria = criteria_of(options)
    found = load(results)
    if criteria.limits.max_kld is not None and (problem := comparable(found).problem):
        raise UserError(problem)
    summaries = narrowed(summarise(found), model=model, workload=workload)
    if not summaries:
        raise UserError(f"{results[0].name} holds no measured cells yet; measure some with slmprof profile")
    chosen = choose(summaries, criteria, results_name=results[0].name)
    folders = [*(path.parent for path in results), Path()]
    models = {sha256: find_model(artifact, folders) for sha256, artifact in found.artifacts.items()}
    chosen = with_deploy(chosen, summaries, models)
    written = write_choices(chosen, summaries, models, output) if output else []
    click.echo(to_json(chosen) if as_json else render(chosen, found.environments, written), nl=False)
    return 0 if any(choice.chosen for choice in chosen.choices) else 1
