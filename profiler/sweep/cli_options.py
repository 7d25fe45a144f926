"""A setting as the options of `slmprof profile` that ask for it; what is so by default is left away."""

from profiler.measure.workloads import WORKLOADS
from profiler.records.config import RunConfig

# Field of RunConfig -> option and its default.
_OPTIONS = {
    "device": ("--device", "cpu"),
    "n_batch": ("--batch", 2048),
    "n_ubatch": ("--ubatch", 512),
    "type_k": ("--ctk", "f16"),
    "type_v": ("--ctv", "f16"),
    "flash_attn": ("--fa", "auto"),
    "load_mode": ("--load-mode", "auto"),
}


def options_for(config: RunConfig) -> list[str]:
    """Give the options for all but the decode threads."""
    words: list[str] = []
    if config.n_threads_batch != config.n_threads:
        words += ["--threads-batch", str(config.n_threads_batch)]
    known = WORKLOADS.get(config.workload)
    if known is not None:
        words += ["--workload", config.workload]
    else:
        words += ["-p", str(config.n_prompt), "-n", str(config.n_gen)]
        words += ["-d", str(config.n_depth)] if config.n_depth else []
    if config.n_ctx != ((known.n_ctx if known is not None else None) or needed_n_ctx(config)):
        words += ["--n-ctx", str(config.n_ctx)]
    # As a server needs it in requests, and room for all logits in separate mode.
    if config.n_outputs_max != int(config.mode == "request"):
        words += ["--outputs-max", str(config.n_outputs_max)]
    for field, (option, usual) in _OPTIONS.items():
        value = getattr(config, field)
        if value != usual and not (field == "n_ubatch" and value == config.n_batch < 512):  # never above the batch
            words += [option, str(value)]
    if config.device == "gpu" and config.n_gpu_layers != -1:
        words += ["--ngl", str(config.n_gpu_layers)]
    words += [] if config.repack else ["--no-repack"]
    words += [] if config.cores is None else ["--cores", ",".join(map(str, config.cores))]
    return words


def needed_n_ctx(config: RunConfig) -> int:
    """Give the tokens that the load puts into the cache."""
    together = config.n_prompt + config.n_gen
    return config.n_depth + (together if config.mode == "request" else max(config.n_prompt, config.n_gen))
