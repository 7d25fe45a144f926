"""`slmprof recommend`: limits in, one choice out."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import PATH, results_argument
from profiler.cli.options.limits import criteria_of, limit_options
from quant.base.errors import UserError

if TYPE_CHECKING:
    from profiler.recommend.records import Recommendation
    from profiler.records.cell_summary import CellSummary


_MOST_CHARS = 40  # of a name in a name of a folder


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

    Without limits the fastest cell wins whose KLD is at most 0.05, or which has at least 4.5 bits per weight where no
    quality is measured; with limits on speed, memory or size the best quality that meets them. A limit is met when the
    whole interval meets it. Overlapping intervals are a tie, which the next criterion decides. The intervals of flagged
    cells are widened by what their disturbance can explain, but for --flagged. The exit status is 1 when nothing fits.

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
    from profiler.deploy.files import find_model, relative_path
    from profiler.recommend.choose import narrowed
    from profiler.recommend.choose import recommend as choose
    from profiler.recommend.deployment import with_deploy
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
    paths = {sha256: relative_path(model, Path()) for sha256, model in models.items()}
    chosen = with_deploy(chosen, summaries, paths)
    written = _write(chosen, summaries, models, output / "deploy") if output else []
    click.echo(to_json(chosen) if as_json else render(chosen, found.environments, written), nl=False)
    return 0 if any(choice.chosen for choice in chosen.choices) else 1


def _write(
    recommendation: "Recommendation",
    summaries: "Sequence[CellSummary]",
    models: Mapping[str, Path | None],
    folder: Path,
) -> list[Path]:
    """Write what runs each choice into the folder, of several choices into folders below; return those written."""
    from profiler.deploy.files import write_deploy
    from profiler.recommend.deployment import chosen_cell

    chosen = [choice for choice in recommendation.choices if choice.deploy]
    written: list[Path] = []
    for choice in chosen:
        cell, target = chosen_cell(choice, summaries), folder
        assert cell is not None
        if len(chosen) > 1:
            name = re.sub(r"[^\w.-]+|^\.+", "-", f"{choice.model[:_MOST_CHARS]}-{choice.workload[:_MOST_CHARS]}")
            target = _unused(folder / name, written)
        write_deploy(cell, target, model=models.get(cell.artifact.sha256), n_ctx=recommendation.limits.n_ctx)
        written.append(target)
    return written


def _unused(folder: Path, used: Sequence[Path]) -> Path:
    """Return the folder, with a number behind its name where that is used."""
    number, found = 1, folder
    while found in used:
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found
