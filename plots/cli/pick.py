"""`slmprof pick`: the choice within limits, with the fewest measurements. It is part of plots because it draws."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import PATH, sources_argument
from profiler.cli.options.limits import limits_of, only_limits
from profiler.cli.options.measure import MeasureOptions, measure_defaults, some_measure_options
from quant.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profiler.pick.run import PickRequest
    from profiler.pick.session import Pick
    from profiler.recommend.records import Limits
    from profiler.records.cell_summary import CellSummary

_SHARED = (
    "reps", "timeout", "patience", "device", "ngl", "cores", "batch", "ubatch", "ctk", "ctv", "fa",
    "load_mode", "no_repack", "weights", "imatrix", "pre", "force", "seed", "fresh",
)  # fmt: skip


@click.command()
@sources_argument
@only_limits
@click.option("-q", "--levels", metavar="CANDIDATES", help="Levels to choose from, like Q4_0,Q4_K_M,Q8_0, or groups: "
              "all, k-quants, legacy, i-quants.  [default: as of slmprof run; a .gguf file as it is]")  # fmt: skip
@click.option("-t", "--threads", metavar="LIST", default="auto", help="Threads to choose from, like 1,2,4 or 1-4; auto "
              "is 1,2,4,… up to the physical cores.")  # fmt: skip
@click.option("--workload", metavar="NAME", default="chat", help="The load to choose for: bench, survey, chat, rag or "
              "summarize.")  # fmt: skip
@some_measure_options(*_SHARED)
@click.option("--budget", metavar="TIME", help="Time for everything, like 10m: at its end the best answer so "
              "far is printed with its uncertainty, and the same command goes on.  [default: no limit]")  # fmt: skip
@click.option("--keep", type=click.Choice(["chosen", "all"]), default="chosen",
              help="Which of the files that were made stay: the chosen one, or all.")  # fmt: skip
@click.option("-o", "--output", "folder", type=PATH, default="pick", help="The folder for all output.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the choice, its figures, who was out and why.")
def pick(sources: tuple[str, ...], folder: Path, as_json: bool, **options: Any) -> int:
    """Choose a level and a thread count within limits, with the fewest measurements.

    Without limits the fastest level wins whose KLD is at most 0.05 (with synthetic weights: of at least 4.5 bits per
    weight); with limits on speed, memory or size the best quality that meets them. Levels that cannot fit are dropped
    by an estimate, before anything is downloaded or made. The others are made one by one, and race: rounds are added
    only where the choice is open, quality is measured only of levels that are still in the race. The folder gets
    models/ with the chosen file, deploy/ with what runs it, results.jsonl with every round, charts/, report.html and
    report.md, which begin with the race. Models do not compete; GGUF files of one model, taken as they are, do. The
    exit status is 1 when nothing meets the limits.

    \b
    slmprof pick smollm2-135m --min-decode 8 --max-memory 512MiB -o pick/
    slmprof pick qwen2.5-0.5b --max-ttft 1s --workload chat --n-ctx 4096 --budget 10m -o pick/
    slmprof pick ./my-checkpoint -q all -t 1,2,4 --max-kld 0.02 -o pick/
    slmprof pick model-Q4_K_M.gguf model-Q8_0.gguf --max-ttft 1s -o pick/
    """
    from plots.cli.run import write_reports
    from profiler.analysis.summarise import summarise
    from profiler.cli.progress.bar import progress_bar
    from profiler.cli.results import load
    from profiler.pick.run import run_picks, workers
    from profiler.pick.text import render, to_json

    request = _request(sources, folder, options)
    picks = run_picks(request, workers(request.timeout_s, progress_bar))
    summaries = summarise(load([request.results]))
    if as_json:
        click.echo(to_json(picks, summaries), nl=False)
    else:
        click.echo("\n".join(render(each, summaries) for each in picks), nl=False)
    write_reports(request.results, folder, ("png",), "paper", picks)
    for place, each in enumerate(picks):
        inner = re.sub(r"[^\w.-]+|^\.+", "-", each.candidates.model)
        _write_deploy(each, summaries, folder / "deploy" / (f"{place + 1}-{inner}" if len(picks) > 1 else ""))
    return 1 if any(_is_without(each) for each in picks) else 0


def _write_deploy(found: "Pick", summaries: "Sequence[CellSummary]", folder: Path) -> None:
    """Write what runs the choice."""
    from profiler.deploy.files import write_deploy
    from profiler.pick.text import summary_of
    from quant.base.progress import say

    cell = summary_of(found, found.verdict.chosen or "", summaries)
    if cell is None or found.chosen is None:
        return
    if write_deploy(cell, folder, model=found.chosen.path, n_ctx=found.limits.n_ctx):
        say(f"llama-server, llama-cli, Ollama, a models file, Python: {folder}")


def _is_without(found: "Pick") -> bool:
    """Return whether nothing meets the limits; a budget that ended too early is no failure."""
    return found.verdict.decided and found.verdict.chosen is None


def _request(sources: tuple[str, ...], folder: Path, options: dict[str, Any]) -> "PickRequest":
    """Make the request.

    Raises:
        UserError: an option cannot be read, or two exclude each other.
    """
    import math

    from profiler.pick.run import PickRequest
    from profiler.pick.session import PickOptions
    from quant.base.units import parse_duration_s

    limits = limits_of(options)
    shared = {name: options[name] for name in (*_SHARED, "levels", "threads", "workload")}
    if shared["threads"].strip().lower() == "auto":
        shared["threads"] = None
    elif "auto" in shared["threads"].lower():
        raise UserError(f"-t {shared['threads']}: pass thread counts, or auto alone; pick finds the best of them")
    n_ctx = None if limits.n_ctx is None else str(limits.n_ctx)
    measure = MeasureOptions(**(measure_defaults() | shared | {"n_ctx": n_ctx}))
    request = measure.request(sources, folder / "results.jsonl", models_dir=folder / "models", default_workload="chat")
    for name in request.axes.__struct_fields__:
        values = getattr(request.axes, name)
        if name not in ("threads", "cores") and len(values) > 1:
            raise UserError(f"pick compares levels and threads under one setting; pass one value of {name}")
    _check_limits(limits, request.axes.workload[0])
    return PickRequest(
        sources=sources,
        prepare_options=request.prepare_options,
        axes=request.axes,
        options=PickOptions(
            limits=limits,
            patience=request.options.patience,
            budget_s=parse_duration_s(options["budget"]) if options["budget"] else math.inf,
            keep_all=options["keep"] == "all",
        ),
        results=request.results,
        reps=request.options.reps,
        seed=request.options.seed,
        timeout_s=request.options.timeout_s,
        force=request.options.force,
        fresh=request.fresh,
    )


def _check_limits(limits: "Limits", workload: str) -> None:
    from profiler.measure.workloads import find_workload

    if limits.max_ttft_ms is not None and find_workload(workload).mode != "request":
        raise UserError(f"--max-ttft needs a request workload, not {workload}; use --workload chat")
