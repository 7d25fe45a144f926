"""The command that measures a chosen cell again: names only, no path of this machine."""

import shlex

import msgspec

from profiler.records.cell_summary import CellSummary
from profiler.records.config import RunConfig
from profiler.sweep.cli_options import needed_n_ctx, options_for
from quant.gguf_io.artifact import Artifact
from quant.gguf_io.levels import LEVELS

AGAIN = "again.jsonl"  # a file of its own: in the old one the cell is there already and would not be measured


def command_of(cell: CellSummary, artifact: Artifact | None, n_ctx: int | None = None) -> str:
    """Give the `slmprof profile` line whose only cell is this one, at another context where one is given."""
    config = _config_of(cell)
    if n_ctx is not None and n_ctx >= needed_n_ctx(config):
        config = msgspec.structs.replace(config, n_ctx=n_ctx)
    source, *level = [_shown(word) for word in _source(cell, artifact)]
    source = f"./{source}" if source.startswith("-") else source
    threads = ["-t", str(cell.n_threads)]
    return shlex.join(["slmprof", "profile", source, *level, *threads, *options_for(config), "-o", AGAIN])


def _shown(text: str) -> str:
    """Make a stranger's name fit for a terminal's line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _source(cell: CellSummary, artifact: Artifact | None) -> list[str]:
    level = ["-q", cell.quant] if cell.quant in {level.name for level in LEVELS} else []
    if cell.weights != "real" and cell.standin_for and level:
        return [cell.standin_for, *level, "--weights", "synthetic"]
    # A file whose making needed more than its source is given as it is.
    if artifact is None or artifact.source is None or not level or cell.imatrix:
        return [artifact.file_name] if artifact else [cell.model, *level]
    at = f"@{artifact.revision}" if artifact.revision and "/" in artifact.source else ""
    return [f"{artifact.source}{at}", *level]


def _config_of(cell: CellSummary) -> RunConfig:
    return RunConfig(
        mode=cell.mode,
        workload=cell.workload,
        n_prompt=cell.n_prompt,
        n_gen=cell.n_gen,
        n_depth=cell.n_depth,
        n_ctx=cell.n_ctx,
        n_batch=cell.n_batch,
        n_ubatch=cell.n_ubatch,
        n_outputs_max=cell.n_outputs_max,
        n_threads=cell.n_threads,
        n_threads_batch=cell.n_threads_batch,
        cores=cell.cores,
        type_k=cell.type_k,
        type_v=cell.type_v,
        flash_attn=cell.flash_attn_asked,
        swa_full=False,
        load_mode=cell.load_mode,
        repack=cell.repack,
        device=cell.device,
        n_gpu_layers=cell.n_gpu_layers,
    )
