"""From a checkpoint to every level, against the lossless conversion through llama_model_quantize."""

import os
import shutil
from pathlib import Path
from typing import Any

from quant.convert.provenance import Origin
from quant.convert.to_gguf import convert
from quant.gguf_io.header import open_gguf_header
from quant.quantize.from_checkpoint import checkpoint_writer
from quant.quantize.levels_of_gguf import quantize
from tests.parity.oracle import Oracle
from tests.support.checkpoints import make_checkpoint

_ORIGIN = Origin(model="shape")
# One layer of a shape whose rows suit K-quants, and of one whose rows do not.
SHAPES: dict[str, dict[str, Any]] = {
    "2048 wide": {"hidden": 2048, "layers": 1, "heads": 32, "kv_heads": 4, "ffn": 5632, "vocab": 1024, "tie": False},
    "896 wide": {
        "architecture": "Qwen2ForCausalLM", "hidden": 896, "layers": 1, "heads": 14, "kv_heads": 2, "ffn": 4864,
        "vocab": 1024, "style": "qwen2",
    },
}  # fmt: skip


def compare_levels(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Make every level that needs no importance matrix both ways, and compare each tensor's type, shape and bytes."""
    print("straight to a level against the lossless file and llama_model_quantize", flush=True)
    findings = []
    for name, shape in SHAPES.items():
        folder = oracle.work / "levels" / name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        os.environ["SLMPROF_CACHE"] = str(folder / "cache")
        checkpoint = make_checkpoint(folder / "checkpoint", **shape)
        lossless = folder / "shape-lossless.gguf"
        convert(checkpoint, lossless, outtype="bf16", origin=_ORIGIN)

        def target_of(level: str, folder: Path = folder) -> Path:
            return folder / "ours" / f"shape-{level}.gguf"

        with checkpoint_writer(checkpoint, origin=_ORIGIN) as writer:
            levels = writer.levels("all")
            writer.write(levels, target_of)
        different = []
        for made in quantize(lossless, levels, folder / "theirs"):
            if _tensors(made.path) != _tensors(target_of(made.level)):
                different.append(made.level)
        findings.append({"shape": name, "levels": levels, "different": different})
        verdict = f"different: {', '.join(different)}" if different else "every tensor equal"
        print(f"  {name}: {len(levels)} levels, {verdict}", flush=True)
        shutil.rmtree(folder)
    return not any(finding["different"] for finding in findings), findings


def _tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    data = path.read_bytes()
    return {
        each.name: (each.type.name, each.dims, data[each.offset : each.offset + each.nbytes])
        for each in open_gguf_header(path).tensors
    }
