"""Options that several commands share; measure.py and limits.py hold the larger bundles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from quant.base.errors import UserError

_Command = TypeVar("_Command", bound=Callable[..., Any])
MAX_SEED = 2**31 - 1
PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)

sources_argument = click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
results_option = click.option(
    "-o", "--output", "results", type=PATH, required=True, help="The results file; new records are appended."
)
results_argument = click.argument("results", metavar="RESULTS...", nargs=-1, required=True, type=PATH)


def number_option(*names: str, least: int, most: int | None = None, **how: Any) -> Callable[[_Command], _Command]:
    """Return an option that takes a whole number."""
    return click.option(*names, metavar="N", type=click.IntRange(least, most), **how)


no_repack_option = click.option(
    "--no-repack", is_flag=True, help="Keep the weights as stored, not repacked: less memory, often slower."
)
weights_option = click.option(
    "--weights",
    type=click.Choice(["real", "synthetic"]),
    default="real",
    help="synthetic: random weights in the model's shape; no weights are downloaded.",
)
threads_option = number_option("-t", "--threads", least=1, most=512, help="Threads.  [default: the physical cores]")
imatrix_option = click.option("--imatrix", type=PATH, help="Importance matrix for quantizing; some levels need one.")
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
