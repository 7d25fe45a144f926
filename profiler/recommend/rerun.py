"""The command that re-measures a chosen cell."""

import shlex

import msgspec

from profiler.records.cell_summary import CellSummary
from profiler.sweep.cli_options import file_arguments, options_for
from quant.base.text import printable

_OUTPUT = "again.jsonl"  # a new file: in the old one the cell exists already and would not be measured


def command_of(cell: CellSummary, n_ctx: int | None = None) -> str:
    """Return the `slmprof profile` line whose only cell is this one, at `n_ctx` if given."""
    config = cell.config
    if n_ctx is not None and n_ctx >= config.needed_n_ctx:
        config = msgspec.structs.replace(config, n_ctx=n_ctx)
    file = file_arguments(cell.artifact)
    source = printable(file.source, "?")
    source = f"./{source}" if source.startswith("-") else source
    level = ["-q", file.level] if file.level else []
    threads = ["-t", str(config.n_threads)]
    words = ["slmprof", "profile", source, *level, *file.options, *threads, *options_for(config), "-o", _OUTPUT]
    return shlex.join(words)
