"""Ollama's Modelfile.

Source: docs/modelfile.mdx (instructions, num_ctx), docs/api.md (the other parameters) and docs/faq.mdx (the server's
variables) of github.com/ollama/ollama.
"""

import re
from pathlib import Path

from profiler.deploy.about import about, commented
from profiler.deploy.records import Plan
from quant.gguf_io.shards import is_gguf_name, stem_of

_ALL_LAYERS = 999
_CACHE_TYPES = ("f16", "q8_0", "q4_0")  # of OLLAMA_KV_CACHE_TYPE
_USE_MMAP = {"auto": True, "mmap": True, "mmap+mlock": True, "mlock": False, "none": False, "dio": False}


def modelfile(plan: Plan) -> str:
    """Return the Modelfile, with comments on what a Modelfile cannot set."""
    config = plan.config
    layers = 0 if config.device == "cpu" else _ALL_LAYERS if config.n_gpu_layers < 0 else config.n_gpu_layers
    parameters = {
        "num_ctx": plan.n_ctx,
        "num_batch": config.n_ubatch,
        "num_thread": config.n_threads,
        "num_gpu": layers,
        "use_mmap": str(_USE_MMAP.get(config.load_mode, True)).lower(),
    }
    start = "In this folder: ollama create NAME -f Modelfile, then ollama run NAME. Ollama has a llama.cpp of its own."
    lines = [
        *commented("#", [*about(plan), start, *_server(plan)]),
        f"FROM {_quoted(plan.model_path)}",
        *(f"PARAMETER {name} {value}" for name, value in parameters.items()),
        *commented("#", _missing(plan)),
    ]
    return "\n".join([*lines, ""])


def _server(plan: Plan) -> list[str]:
    """Return what holds for all models of a server."""
    config = plan.config
    variables = f"OLLAMA_NUM_PARALLEL=1 OLLAMA_FLASH_ATTENTION={int(plan.flash_attn)}"
    if config.type_k == config.type_v and config.type_k in _CACHE_TYPES:
        return [f"Start the server with: {variables} OLLAMA_KV_CACHE_TYPE={config.type_k} ollama serve"]
    return [
        f"Start the server with: {variables} ollama serve",
        f"Ollama has no KV cache of K {config.type_k} and V {config.type_v}; its memory is another.",
    ]


def _missing(plan: Plan) -> list[str]:
    """Return the settings that Ollama has no parameter for."""
    config, name = plan.config, plan.cell.artifact.file_name
    lines = []
    if config.n_threads_batch != config.n_threads:
        lines.append(f"Not expressed: prefill was measured with {config.n_threads_batch} threads.")
    if config.n_batch != config.n_ubatch:
        lines.append(f"Not expressed: a logical batch of {config.n_batch}; num_batch is the physical one.")
    if config.load_mode not in ("auto", "mmap", "none"):
        lines.append(f"Not expressed: load mode {config.load_mode}.")
    if not config.repack:
        lines.append("Not expressed: repacking was off. Repacked weights take more memory.")
    if config.cores is not None:
        cores = ",".join(map(str, config.cores))
        lines.append(f"Not expressed: bound to CPUs {cores}; on Linux start the server with taskset -c {cores}.")
    if config.swa_full:
        lines.append("Not expressed: a full-size cache of sliding-window layers.")
    if is_gguf_name(name) and stem_of(Path(name)) != name[: -len(".gguf")]:
        lines.append("The file has shards: merge them with llama-gguf-split --merge, and name the merged file above.")
    return lines


def _quoted(path: str) -> str:
    """Return a value as it is, in quotes where its ends would be lost; the quotes within it stay as they are."""
    path = path if path.startswith(("/", "./", "../")) else f"./{path}"
    return path if re.fullmatch(r"[\w./+@=-]+", path) else f'"{path}"'
