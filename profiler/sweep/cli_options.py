"""A setting as the options of `slmprof profile` that measure it; options at their defaults are omitted."""

import msgspec

from profiler.measure.workloads import WORKLOADS
from profiler.records.config import RunConfig, base_config

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


def options_for(config: RunConfig) -> list[str]:
    """Return the options for all but the decode threads."""
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
    words += [] if config.cores is None else ["--cores", ",".join(map(str, config.cores))]
    return words
