"""`slmprof show` and `slmprof export`: the content of results files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from profiler.cli.options import PATH, results_argument
from quant.base.errors import UserError
from quant.base.text import printable

FORMATS = ("json", "csv", "md", "llama-bench", "llama-bench-jsonl")


def load(paths: Sequence[Path]) -> Any:
    """Read results files; warnings about them go to stderr."""
    from profiler.results.file import read_results

    results = read_results(paths)
    for warning in results.warnings:
        click.echo(printable(warning), err=True)
    return results


def warn_of_quality(results: Any) -> None:
    """Print on stderr which measured quality is in no cell, and why."""
    from profiler.analysis.quality_by_file import comparable

    found = comparable(results)
    for note in (found.problem, found.left_out):
        if note:
            click.echo(printable(note), err=True)


def table_of(results: Any) -> str:
    """Return the table of results, with the full text of warnings."""
    from profiler.analysis.summarise import summarise_and_warn
    from profiler.quality.table import quality_table
    from profiler.tables.speed import render
    from profiler.tables.sustained import render_minutes
    from profiler.tasks.table import tasks_table

    others = [quality_table(results), tasks_table(results)]
    if any(others) and not results.rounds:
        return "\n".join(filter(None, others))
    summaries, messages = summarise_and_warn(results)
    tables = [render(summaries, results.environments, messages), render_minutes(results, summaries), *others]
    return "\n".join(filter(None, tables))


@click.command()
@results_argument
@click.option("--memory", is_flag=True, help="Print the parts of each cell's memory, and what no part explains.")
def show(results: tuple[Path, ...], memory: bool) -> None:
    """Print the table of one or more results files.

    \b
    slmprof show results.jsonl
    slmprof show results.jsonl --memory
    """
    if memory:
        from profiler.tables.memory import render_memory

        click.echo(render_memory(load(results)), nl=False)
        return
    click.echo(table_of(load(results)), nl=False)


@click.command()
@results_argument
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="Format of the output.")
@click.option("--label", metavar="BUILD", help="A name for these results in every row, like a build's or a board's.")
@click.option("-o", "--output", type=PATH, help="Write to a file instead of stdout.")
def export(results: tuple[Path, ...], form: str, label: str | None, output: Path | None) -> None:
    """Export results: one object or line per cell, or llama-bench's records.

    llama-bench and llama-bench-jsonl are what its -o json and -o jsonl write, for the scripts that read those; --label
    is their build_commit. llama.cpp's compare script cuts all of these to the shortest: use labels of one length. md is
    the table of slmprof show.

    \b
    slmprof export results.jsonl --format csv -o results.csv
    slmprof export results.jsonl --format llama-bench-jsonl --label my-board
    """
    if form == "md" and label is not None:
        raise UserError("the table has no column for --label; omit it, or choose another --format")
    text = export_text(load(results), form, label)
    if output is None:
        click.echo(text, nl=False)
    else:
        from quant.base.files import write_text

        write_text(output, text)


def export_text(results: Any, form: str, label: str | None) -> str:
    """Return results in one of FORMATS."""
    from profiler.analysis.summarise import summarise
    from profiler.export import flat, llama_bench

    if form == "md":
        return table_of(results)
    if form == "llama-bench":
        return llama_bench.to_json(results, label=label)
    if form == "llama-bench-jsonl":
        return llama_bench.to_jsonl(results, label=label)
    summaries = summarise(results, label=label)
    return flat.to_json(summaries) if form == "json" else flat.to_csv(summaries)
