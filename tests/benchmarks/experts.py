"""Peak memory of converting a mixture of experts of 16B parameters straight to a level, from a sparse checkpoint.

The shape is DeepSeek-V2-Lite's; the weights are zeros that occupy no disk space. The peak is that of the largest
process, as the system accounts for it.

    python -m tests.benchmarks.experts --work FOLDER [--level Q4_K_M]
"""

import argparse
import json
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

from quant.convert.families import complete_config, find_family, planned_tensors
from tests.benchmarks.convert import timed
from tests.families.deepseek2 import config
from tests.support.vocabularies import write_bpe_tokenizer

_MIB = 1 << 20
_N_VOCAB = 102400
_ELEMENT_BYTES = 2  # bfloat16
_LITE = {
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_routed_experts": 64,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 1408,
    "kv_lora_rank": 512,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": _N_VOCAB,
    "max_position_embeddings": 4096,
    "bos_token_id": _N_VOCAB - 4,
    "eos_token_id": _N_VOCAB - 3,
}


def write_sparse_checkpoint(folder: Path) -> int:
    """Write the checkpoint with a hole for its weights; return the number of parameters."""
    shape: dict[str, Any] = {**config(), **_LITE}
    folder.mkdir(parents=True)
    write_bpe_tokenizer(folder, vocab_size=_N_VOCAB, style="deepseek-llm")
    (folder / "config.json").write_text(json.dumps(shape | {"torch_dtype": "bfloat16"}))
    family = find_family(shape["architectures"][0])
    header: dict[str, Any] = {}
    end = 0
    for planned in planned_tensors(family, complete_config(family, shape)):
        for name, dims in planned.source_tensors():
            if name not in header:
                n_bytes = _ELEMENT_BYTES
                for size in dims:
                    n_bytes *= size
                header[name] = {"dtype": "BF16", "shape": list(dims), "data_offsets": [end, end + n_bytes]}
                end += n_bytes
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return end // _ELEMENT_BYTES


def main() -> None:
    """Write the checkpoint, convert it and print the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder with 12 GB of free space; it is removed")
    parser.add_argument("--level", default="Q4_K_M")
    arguments = parser.parse_args()
    folder = arguments.work / "experts"
    try:
        n_params = write_sparse_checkpoint(folder / "lite-16b")
        command = [sys.executable, "-m", "profiler", "convert", str(folder / "lite-16b"), "-q", arguments.level]
        env = {**os.environ, "SLMPROF_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        found = timed([[*command, "-o", str(folder / "out.gguf")]], env)
        size = (folder / "out.gguf").stat().st_size
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{n_params / 1e9:.1f}B to {arguments.level}: {size / 1e9:.2f} GB in {found.wall_s:.0f} s, "
        f"peak {found.peak_bytes / _MIB:.0f} MiB"
    )


if __name__ == "__main__":
    main()
