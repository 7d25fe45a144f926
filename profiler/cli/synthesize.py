"""`slmprof synthesize`: a checkpoint or GGUF files of a given shape with random weights."""

from pathlib import Path

import click

from profiler.cli.options import MAX_SEED, PATH, check_output_holds, imatrix_option, number_option
from quant.base.errors import UserError


@click.command()
@click.argument("source")
@click.option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    help="The new checkpoint's directory; with -q a .gguf file, or a directory for several levels.",
)
@click.option(
    "-q",
    "--levels",
    metavar="LEVELS",
    help="Make GGUF files at these levels, like Q4_K_M,Q8_0 or all, instead of a checkpoint.",
)
@imatrix_option
@number_option("--seed", least=0, most=MAX_SEED, default=0, help="Seed of the random weights.")
def synthesize(source: str, output: Path, levels: str | None, imatrix: Path | None, seed: int) -> None:
    """Make a checkpoint or GGUF files in the shape of a model, with random weights and a tokenizer of the full size.

    Only config.json is downloaded; a name from slmprof models needs no download. llama.cpp chooses each tensor's type
    in the GGUF files, which run as fast as real ones. They are marked as synthetic in their metadata and their name.

    \b
    slmprof synthesize qwen2-0.5b -q Q4_K_M -o qwen2-synthetic.gguf
    slmprof synthesize qwen2-0.5b -q k-quants -o models/
    slmprof synthesize ./config.json -o my-checkpoint
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.sources.prepare import model_name, shape_config
    from quant.sources.resolve import resolve

    if levels is None and imatrix is not None:
        raise UserError("--imatrix is for GGUF files; add their levels with -q")
    if levels is None and output.suffix == ".gguf":
        raise UserError(f"-o {output} is a GGUF file, and its level is missing; add -q, like -q Q4_K_M")
    if levels is not None:
        check_output_holds(levels, output)
    found = resolve(source)
    with progress_bar():
        config, name = shape_config(found), model_name(found, None)
        if levels is None:
            from quant.synthetic.checkpoint import synthesize as make

            paths = [make(config, output, standin_for=name, seed=seed)]
        else:
            from quant.synthetic.gguf import synthesize_levels

            paths = synthesize_levels(config, levels, output, standin_for=name, seed=seed, imatrix=imatrix)
    for path in paths:
        click.echo(path)
