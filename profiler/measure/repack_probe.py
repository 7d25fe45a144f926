"""Does llama.cpp survive its own repacked kernels here?

On some builds it does not: GCC 12 compiles the AMX tile configuration so that any quantized prefill of more than one
token ends in a segmentation fault. So a tiny quantized model is read once per build, in a process of its own.
"""

import tempfile
from pathlib import Path

from profiler.device.llama_build import build_stamp
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.records.config import base_config
from quant.base.kept import KeptJson
from quant.base.progress import say

_N_EMBD, _N_FF, _N_VOCAB = 256, 512, 256
_TIMEOUT_S = 60
CRASH_FLAGS = "-DCMAKE_C_FLAGS=-mno-amx-tile -DCMAKE_CXX_FLAGS=-mno-amx-tile"  # leave the crashing code out
ADVICE = (
    "llama.cpp crashes here in its repacked kernels (known of AMX code compiled by GCC 12), so weights keep their own "
    "layout, as with --no-repack; to use them, rebuild llama-cpp-python with GCC 13 or Clang, or with "
    f"CMAKE_ARGS='{CRASH_FLAGS}' pip install --no-cache-dir; slmprof doctor writes the whole command"
)


def repack_in_force(requested: bool) -> bool:
    """Return whether weights get repacked: where requested, unless this build crashes in its repacked kernels."""
    if requested and not repacking_works():
        say(ADVICE)
        return False
    return requested


def repacking_works() -> bool:
    """Return whether this build survives its repacked kernels; tried once per build and machine."""
    return KeptJson(f"repack/{build_stamp()}.json", bool).read_or(_try_repacking)


def _try_repacking() -> bool:
    """Prefill a tiny model of Q4_0 and Q8_0 tensors with repacking on; False if the process crashes."""
    config = base_config(n_prompt=32, n_gen=1, n_ctx=64, n_batch=64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        _write_tiny(path)
        answer = run_worker(Job(path=str(path), config=config, reps=1, seed=0), timeout_s=_TIMEOUT_S)
    return answer.failure is None or answer.failure.signal is None


def _write_tiny(path: Path) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(_N_EMBD)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_N_FF)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_N_EMBD // 4)
    writer.add_vocab_size(_N_VOCAB)
    writer.add_tokenizer_model("none")
    source = np.random.default_rng(0)
    types = gguf.GGMLQuantizationType

    def add(name: str, rows: int, columns: int, kind: gguf.GGMLQuantizationType) -> None:
        values = source.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.02)
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    add("token_embd.weight", _N_VOCAB, _N_EMBD, types.Q8_0)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        add(f"blk.0.{name}.weight", _N_EMBD, _N_EMBD, types.Q4_0)
    add("blk.0.ffn_gate.weight", _N_FF, _N_EMBD, types.Q8_0)
    add("blk.0.ffn_up.weight", _N_FF, _N_EMBD, types.Q4_0)
    add("blk.0.ffn_down.weight", _N_EMBD, _N_FF, types.Q8_0)
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        writer.add_tensor(name, np.ones(_N_EMBD, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
