"""Peak memory of converting large checkpoints, whose weights are zeros in sparse files that occupy no disk space.

A mixture of experts of 16B parameters (DeepSeek-V2-Lite's shape), and a 3.2B model (Llama 3.2's) as shards of
torch.save and with a LoRA adapter of rank 64 at every linear layer. The peak is that of the largest process, as the
system accounts for it. Fails where one is over its bar.

    python -m tests.benchmarks.peaks --work FOLDER [--only pickled] [--level Q4_K_M]
"""

import argparse
import io
import json
import math
import os
import shutil
import struct
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from quant.convert.families import complete_config, find_family, planned_tensors
from tests.benchmarks.convert import timed
from tests.families.deepseek2 import config as deepseek_config
from tests.support.adapters import CONFIG as LORA
from tests.support.adapters import LINEAR, PREFIX
from tests.support.checkpoints import decoder_config
from tests.support.torch_files import StateDict, Storage, View, pickled, rebuilding
from tests.support.vocabularies import write_bpe_tokenizer

Shapes = dict[str, tuple[int, ...]]
_MIB = 1 << 20
_N_BYTES = {"BF16": 2, "F32": 4}
_HOLE = bytes(4 * _MIB)
_RANK = 64
_SHARDS = 3
_LITE_VOCAB, _3B_VOCAB = 102400, 128256
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
    "vocab_size": _LITE_VOCAB,
    "max_position_embeddings": 4096,
    "bos_token_id": _LITE_VOCAB - 4,
    "eos_token_id": _LITE_VOCAB - 3,
}
_3B = {
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": _3B_VOCAB,
    "max_position_embeddings": 131072,
    "bos_token_id": _3B_VOCAB - 4,
    "eos_token_id": _3B_VOCAB - 3,
}


class Case(NamedTuple):
    """A checkpoint, and the most that its conversion may take."""

    shape: dict[str, Any]
    vocabulary: str  # its style
    bar_mib: int
    is_pickled: bool = False
    has_adapter: bool = False


CASES = {
    "experts": Case({**deepseek_config(), **_LITE}, "deepseek-llm", 600),
    "pickled": Case({**decoder_config(), **_3B}, "gpt-2", 300, is_pickled=True),
    "adapter": Case({**decoder_config(), **_3B}, "gpt-2", 300, has_adapter=True),
}


class _Sparse(io.FileIO):
    """A file in which what is written of `_HOLE` is a hole."""

    def write(self, data: Any) -> int:
        if len(data) == len(_HOLE):
            self.seek(len(data), os.SEEK_CUR)
            return len(data)
        return super().write(data)


def shapes_of(shape: dict[str, Any]) -> Shapes:
    """Return the shapes of a checkpoint's tensors by their names."""
    family = find_family(shape["architectures"][0])
    planned = planned_tensors(family, complete_config(family, shape))
    shapes = {name: tuple(dims) for each in planned for name, dims in each.source_tensors()}
    if shape.get("tie_word_embeddings"):
        del shapes["lm_head.weight"]  # one that is tied is not saved
    return shapes


def write_config(folder: Path, case: Case) -> None:
    """Write the config and a tokenizer."""
    folder.mkdir(parents=True)
    write_bpe_tokenizer(folder, vocab_size=case.shape["vocab_size"], style=case.vocabulary)
    (folder / "config.json").write_text(json.dumps(case.shape | {"torch_dtype": "bfloat16"}))


def write_safetensors(path: Path, shapes: Shapes, dtype: str) -> None:
    """Write a header, and a hole for the weights."""
    header: dict[str, Any] = {}
    end = 0
    for name, dims in shapes.items():
        start, end = end, end + math.prod(dims) * _N_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(dims), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


class _Zeros(Storage):
    def __init__(self, n_elements: int) -> None:
        super().__init__("BF16", b"")
        self.n_elements = n_elements

    @property
    def size(self) -> int:
        return self.n_elements


def write_shards(folder: Path, shapes: Shapes) -> None:
    """Write shards as torch.save does, a storage for each tensor, with an index."""
    names = list(shapes)
    weight_map: dict[str, str] = {}
    for number in range(_SHARDS):
        part = names[number * len(names) // _SHARDS : (number + 1) * len(names) // _SHARDS]
        path = folder / f"pytorch_model-{number + 1:05d}-of-{_SHARDS:05d}.bin"
        weight_map |= dict.fromkeys(part, path.name)
        views = {name: View(_Zeros(math.prod(shapes[name])), shapes[name]) for name in part}
        data_pkl, storages = pickled(rebuilding(views, StateDict))
        with _Sparse(path, "w") as file, zipfile.ZipFile(file, "w") as archive:  # type: ignore[arg-type]
            archive.writestr("archive/data.pkl", data_pkl)
            archive.writestr("archive/byteorder", b"little")
            for key, storage in storages.items():
                with archive.open(f"archive/data/{key}", "w", force_zip64=True) as member:
                    whole, rest = divmod(storage.size * _N_BYTES["BF16"], len(_HOLE))
                    for _ in range(whole):
                        member.write(_HOLE)
                    member.write(bytes(rest))
            archive.writestr("archive/version", b"3\n")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))


def write_adapter(folder: Path, shapes: Shapes) -> None:
    """Write an adapter of all linear layers."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(LORA | {"r": _RANK, "target_modules": "all-linear"}))
    factors: Shapes = {}
    for name, dims in shapes.items():
        if name.endswith("_proj.weight"):
            module = PREFIX + name.removesuffix(".weight")
            factors |= {f"{module}.{LINEAR[0]}": (_RANK, dims[1]), f"{module}.{LINEAR[1]}": (dims[0], _RANK)}
    write_safetensors(folder / "adapter_model.safetensors", factors, "F32")


def converted(name: str, case: Case, work: Path, levels: Iterable[str]) -> bool:
    """Write a checkpoint, convert it to each level, print the peaks and return whether all are within the bar."""
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    good = True
    try:
        shapes = shapes_of(case.shape)
        write_config(folder / "model", case)
        if case.is_pickled:
            write_shards(folder / "model", shapes)
        else:
            write_safetensors(folder / "model" / "model.safetensors", shapes, "BF16")
        command = [sys.executable, "-m", "profiler", "convert", str(folder / "model")]
        if case.has_adapter:
            write_adapter(folder / "lora", shapes)
            command += ["--adapter", str(folder / "lora")]
        env = {**os.environ, "SLMPROF_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        n_params = sum(map(math.prod, shapes.values()))
        for level in levels:
            out = folder / "out.gguf"
            found = timed([[*command, "-q", level, "-o", str(out)]], env)
            peak = found.peak_bytes / _MIB
            print(
                f"{name}: {n_params / 1e9:.1f}B to {level}, {out.stat().st_size / 1e9:.2f} GB in {found.wall_s:.0f} s, "
                f"peak {peak:.0f} MiB (bar {case.bar_mib})",
                flush=True,
            )
            out.unlink()
            good = good and peak <= case.bar_mib
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return good


def main() -> int:
    """Print the peaks; 1 where one is over its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder with 12 GB of free space")
    parser.add_argument("--only", choices=CASES, help="one of the cases")
    parser.add_argument("--level", default="Q4_K_M", help="several with commas")
    options = parser.parse_args()
    names = [options.only] if options.only else list(CASES)
    results = [converted(name, CASES[name], options.work, options.level.split(",")) for name in names]
    return int(not all(results))


if __name__ == "__main__":
    raise SystemExit(main())
