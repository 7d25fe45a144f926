"""Options that several commands share; measure.py and limits.py hold the larger bundles."""

from pathlib import Path

import click

from quant.base.errors import UserError

no_repack_option = click.option(
    "--no-repack", is_flag=True, help="Keep the weights as stored, not repacked: less memory, often slower."
)
weights_option = click.option(
    "--weights",
    type=click.Choice(["real", "synthetic"]),
    default="real",
    show_default=True,
    help="synthetic: random weights in the model's shape; no weights are downloaded.",
)
threads_option = click.option(
    "-t", "--threads", metavar="N", type=click.IntRange(1, 512), help="Threads.  [default: the physical cores]"
)
imatrix_option = click.option(
    "--imatrix", type=click.Path(path_type=Path), help="Importance matrix for quantizing; some levels need one."
)
pre_option = click.option(
    "--pre",
    metavar="NAME",
    help="llama.cpp's name of the pre-tokenizer, where the converter does not recognize the tokenizer.",
)


def levels_of(text: str | None) -> str | None:
    """Check -q; None where it was not given. Groups are resolved per file, since llama.cpp decides which levels it has.

    Raises:
        UserError: a level is unknown.
    """
    if text is not None:
        from quant.gguf_io.levels import parse_levels

        parse_levels(text)
    return text


def check_output_holds(levels: str, output: Path) -> None:
    """Check that -o has room for every level of -q: a file holds one, a directory any number.

    Raises:
        UserError: a level is unknown, or several levels would go into one file.
    """
    from quant.gguf_io.levels import parse_levels

    n_levels = len(parse_levels(levels))
    if output.suffix == ".gguf" and n_levels > 1:
        raise UserError(f"{n_levels} levels do not fit into one file; make -o a directory")
