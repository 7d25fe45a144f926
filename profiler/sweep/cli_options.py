"""A cell as the arguments of `slmprof profile` that measure it: its file by names only, no path of this machine."""

from typing import NamedTuple

import msgspec

from profiler.measure.workloads import WORKLOADS
from profiler.records.config import RunConfig, base_config
from quant.gguf_io.artifact import Artifact
from quant.gguf_io.levels import LEVEL_BY_NAME

_DEFAULT = base_config()
# Field of RunConfig -> option.
_OPTIONS = {
    "device": "--device",
    "n_batch": "--batch",
    "n_ubatch": "--ubatch",
    "type_k": "--ctk",
    "type_v": "--ctv",
    "flash_attn": "--fa",
    "load_mode": "--load-mode",
}


class FileArguments(NamedTuple):
    """What names a file."""

    source: str
    level: str | None  # None: the source is the file itself
    options: tuple[str, ...] = ()


def file_arguments(artifact: Artifact) -> FileArguments:
    """Return the source and the level that make a file; one that these alone do not reproduce is named itself."""
    level = artifact.level if artifact.level in LEVEL_BY_NAME else None
    if level is None or artifact.imatrix_sha256:
        return FileArguments(artifact.file_name, None)
    if artifact.weights != "real" and artifact.standin_for:
        return FileArguments(artifact.standin_for, level, ("--weights", "synthetic"))
    if artifact.source is None:
        return FileArguments(artifact.file_name, None)
    revision = f"@{artifact.revision}" if artifact.revision and "/" in artifact.source else ""
    return FileArguments(f"{artifact.source}{revision}", level)


def options_for(config: RunConfig) -> list[str]:
    """Return the options for all but the decode threads; options at their defaults are omitted."""
    words: list[str] = []
    if config.n_threads_batch != config.n_threads:
        words += ["--threads-batch", str(config.n_threads_batch)]
    workload = WORKLOADS.get(config.workload)
    if workload is not None:
        words += ["--workload", config.workload]
    else:
        words += ["-p", str(config.n_prompt), "-n", str(config.n_gen)]
        words += ["-d", str(config.n_depth)] if config.n_depth else []
    if config.n_ctx != ((workload.n_ctx if workload is not None else None) or config.needed_n_ctx):
        words += ["--n-ctx", str(config.n_ctx)]
    # The default is what a server needs in requests, and room for all logits in separate mode.
    if config.n_outputs_max != int(config.mode == "request"):
        words += ["--outputs-max", str(config.n_outputs_max)]
    # The physical batch is never above the logical one.
    usual = msgspec.structs.replace(_DEFAULT, n_ubatch=min(_DEFAULT.n_ubatch, config.n_batch))
    for field, option in _OPTIONS.items():
        value = getattr(config, field)
        if value != getattr(usual, field):
            words += [option, str(value)]
    if config.device == "gpu" and config.n_gpu_layers != -1:
        words += ["--ngl", str(config.n_gpu_layers)]
    words += [] if config.repack else ["--no-repack"]
    words += ["--sustain", f"{config.sustain_s}s"] if config.sustain_s else []
    words += [] if config.cores is None else ["--cores", ",".join(map(str, config.cores))]
    return words
