"""The command that measures a chosen cell again: names only, no path of this machine."""

import shlex

import msgspec

from profiler.plan import Axes
from profiler.summary import CellSummary
from profiler.workloads import WORKLOADS
from quant.artifact import Artifact
from quant.levels import LEVELS

AGAIN = "again.jsonl"  # a file of its own: in the old one the cell is there already and would not be measured
_DEFAULTS = Axes(threads=(1,))
_REQUEST_OUTPUTS = 1  # of plan.py: in requests, as a server needs; 0 in separate mode


def command_of(cell: CellSummary, artifact: Artifact | None, n_ctx: int | None = None) -> str:
    """Give the `slmprof profile` line whose only cell is this one, at another context where one is given."""
    if n_ctx is not None and n_ctx >= _needed(cell):
        cell = msgspec.structs.replace(cell, n_ctx=n_ctx)
    source, *level = [_shown(word) for word in _source(cell, artifact)]
    source = f"./{source}" if source.startswith("-") else source
    return shlex.join(["slmprof", "profile", source, *level, *_load(cell), *_setting(cell), "-o", AGAIN])


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


def _load(cell: CellSummary) -> list[str]:
    known = WORKLOADS.get(cell.workload)
    words = ["-t", str(cell.n_threads)]
    if cell.n_threads_batch != cell.n_threads:
        words += ["--threads-batch", str(cell.n_threads_batch)]
    if known:
        words += ["--workload", known.name]
    else:
        words += ["-p", str(cell.n_prompt), "-n", str(cell.n_gen), "-d", str(cell.n_depth)]
    usual = (known.n_ctx if known else None) or _needed(cell)
    return words if cell.n_ctx == usual else [*words, "--n-ctx", str(cell.n_ctx)]


def _needed(cell: CellSummary) -> int:
    """Give the tokens that the load puts into the cache."""
    return cell.n_depth + (cell.n_prompt + cell.n_gen if cell.mode == "request" else max(cell.n_prompt, cell.n_gen))


def _setting(cell: CellSummary) -> list[str]:
    outputs = _REQUEST_OUTPUTS if cell.mode == "request" else 0
    pairs = [
        ("--device", cell.device, _DEFAULTS.device[0]),
        ("--batch", cell.n_batch, _DEFAULTS.batch[0]),
        ("--ubatch", cell.n_ubatch, min(_DEFAULTS.ubatch[0], cell.n_batch)),
        ("--outputs-max", cell.n_outputs_max, outputs),
        ("--ctk", cell.type_k, _DEFAULTS.ctk[0]),
        ("--ctv", cell.type_v, _DEFAULTS.ctv[0]),
        ("--fa", cell.flash_attn_asked, _DEFAULTS.fa[0]),
        ("--load-mode", cell.load_mode, _DEFAULTS.load_mode[0]),
    ]
    words = [word for option, value, usual in pairs if value != usual for word in (option, str(value))]
    if cell.cores:
        words += ["--cores", ",".join(map(str, cell.cores))]
    return words if cell.repack else [*words, "--no-repack"]
