"""`slmprof quantize`: one or more levels of a GGUF file."""

import sys
from pathlib import Path

import click

from profiler.cli.options import PATH, imatrix_option, number_option
from quant.base.errors import UserError


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "-q",
    "--levels",
    metavar="LEVELS",
    required=True,
    help="Levels like Q4_K_M,Q8_0, or the groups all, k-quants, legacy, i-quants.",
)
@click.option("-o", "--output", type=PATH, required=True, help="The directory for the new files.")
@imatrix_option
@number_option("-j", "--jobs", least=1, most=512, help="Number of threads.  [default: all]")
def quantize(file: Path, levels: str, output: Path, imatrix: Path | None, jobs: int | None) -> None:
    """Quantize an unquantized GGUF file to one or more levels with llama.cpp.

    New files are named after the old one with the level replaced: model-F16.gguf becomes model-Q8_0.gguf. A group skips
    levels that need an importance matrix unless --imatrix is set.

    \b
    slmprof quantize model-F16.gguf -q Q4_K_M,Q8_0 -o models/
    slmprof quantize model-F16.gguf -q all -o models/
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.quantize.levels_of_gguf import choose_levels
    from quant.quantize.levels_of_gguf import quantize as make

    if not file.exists():
        raise UserError(f"there is no file {file}; check the path")
    with progress_bar():
        chosen = choose_levels(file, levels, imatrix=imatrix)
        made = make(file, chosen, output, imatrix=imatrix, n_threads=jobs)
    for each in made:
        n_fallbacks = sum(each.artifact.fallbacks.values())
        note = f", {n_fallbacks} tensors in fallback types" if n_fallbacks else ""
        cached = ", already up to date" if each.cached else ""
        click.echo(f"{each.level}: {each.artifact.bpw:.2f} bits per weight{note}{cached}", err=True)
        click.echo(each.path)
    sys.stdout.flush()
