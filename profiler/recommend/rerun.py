"""The command that re-measures a chosen cell: names only, no path of this machine."""

import shlex

import msgspec

from profiler.records.cell_summary import CellSummary
from profiler.sweep.cli_options import options_for
from quant.base.text import printable
from quant.gguf_io.artifact import Artifact
from quant.gguf_io.levels import LEVELS

_OUTPUT = "again.jsonl"  # a new file: in the old one the cell exists already and would not be measured


def command_of(cell: CellSummary, artifact: Artifact | None, n_ctx: int | None = None) -> str:
    """Return the `slmprof profile` line whose only cell is this one, at `n_ctx` if given."""
    config = cell.config
    if n_ctx is not None and n_ctx >= config.needed_n_ctx:
        config = msgspec.structs.replace(config, n_ctx=n_ctx)
    source, *level = [printable(word, "?") for word in _source(cell, artifact)]
    source = f"./{source}" if source.startswith("-") else source
    threads = ["-t", str(cell.config.n_threads)]
    return shlex.join(["slmprof", "profile", source, *level, *threads, *options_for(config), "-o", _OUTPUT])


def _source(cell: CellSummary, artifact: Artifact | None) -> list[str]:
    level = ["-q", cell.artifact.level] if cell.artifact.level in {level.name for level in LEVELS} else []
    if cell.artifact.weights != "real" and cell.artifact.standin_for and level:
        return [cell.artifact.standin_for, *level, "--weights", "synthetic"]
    # A file that its source alone does not reproduce is named itself.
    if artifact is None or artifact.source is None or not level or cell.artifact.imatrix_sha256:
        return [artifact.file_name] if artifact else [cell.artifact.model, *level]
    at = f"@{artifact.revision}" if artifact.revision and "/" in artifact.source else ""
    return [f"{artifact.source}{at}", *level]
