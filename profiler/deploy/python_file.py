"""A program on llama-cpp-python: the keyword arguments of its class Llama, and a completion.

Source: Llama.__init__ of the pinned llama-cpp-python.
"""

from profiler.deploy.about import about, commented
from profiler.deploy.records import Plan
from profiler.records.config import CACHE_TYPES

# Load mode -> use_mmap, use_mlock.
_LOADING = {"auto": (True, False), "mmap": (True, False), "mmap+mlock": (True, True), "mlock": (False, True)}
_FIRST = '"""Complete a prompt: python run.py PROMPT."""'
_PROGRAM = """
import sys
from pathlib import Path

from llama_cpp import Llama

MODEL = Path(__file__).parent / {model}
SETTINGS = {{
{settings}
}}

if __name__ == "__main__":
    prompt = sys.argv[1] if len(sys.argv) > 1 else "The capital of France is"
    model = Llama(str(MODEL), **SETTINGS, verbose=False)
    print(model.create_completion(prompt, max_tokens=32)["choices"][0]["text"])
"""


def python_file(plan: Plan) -> str:
    """Return the program, with comments on what the class cannot set."""
    config = plan.config
    on_gpu = config.device == "gpu"
    use_mmap, use_mlock = _LOADING.get(config.load_mode, (False, False))
    settings: dict[str, object] = {
        "n_threads": config.n_threads,
        "n_threads_batch": config.n_threads_batch,
        "n_ctx": plan.n_ctx,
        "n_batch": config.n_batch,
        "n_ubatch": config.n_ubatch,
        "type_k": CACHE_TYPES[config.type_k].ggml_type,
        "type_v": CACHE_TYPES[config.type_v].ggml_type,
        "flash_attn": plan.flash_attn,
        "swa_full": config.swa_full,
        "use_mmap": use_mmap,
        "use_mlock": use_mlock,
        "n_gpu_layers": config.n_gpu_layers if on_gpu else 0,
        "offload_kqv": on_gpu,
        "op_offload": on_gpu,
    }
    names = {"type_k": config.type_k, "type_v": config.type_v}
    rows = [
        f'    "{key}": {value!r},' + (f"  # {names[key]}" if key in names else "") for key, value in settings.items()
    ]
    # The docstring comes first: in a comment of the first two lines, a name could set the encoding of the rest.
    head = [_FIRST, *commented("#", [*about(plan), *_missing(plan)])]
    return "\n".join(head) + "\n" + _PROGRAM.format(model=repr(plan.model_path), settings="\n".join(rows))


def _missing(plan: Plan) -> list[str]:
    """Return the settings that the class has no argument for."""
    config = plan.config
    lines = []
    if config.load_mode == "dio":
        lines.append("Not expressed: direct I/O; the file is read as with load mode none.")
    if not config.repack:
        lines.append("Not expressed: repacking was off. Repacked weights take more memory.")
    if plan.reads_lazily:
        lines.append("Not expressed: tensors above 4 GiB are read from the disk as needed, and were not when measured.")
    if config.cores is not None:
        cores = ",".join(map(str, config.cores))
        lines.append(f"Not expressed: bound to CPUs {cores}; on Linux start it with taskset -c {cores}.")
    return lines
