"""Both converters, key by key and byte by byte."""

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader

from quant.convert.to_gguf import convert
from quant.convert.tokenizer import is_sentencepiece
from tests.families import for_oracle, make_variant, variants
from tests.parity.oracle import Oracle

OUTTYPES = ("f32", "f16", "bf16", "auto")


def compare_files(oracle: Oracle, names: list[str]) -> tuple[bool, list[dict[str, Any]]]:
    """Convert every variant to every type with both and list each difference."""
    findings = []
    print("converted files against llama.cpp's converter", flush=True)
    checkpoints = {name: make_variant(name, oracle.work / "checkpoints") for name in names}
    (oracle.work / "theirs").mkdir(exist_ok=True)
    theirs = {
        (name, outtype): oracle.work / "theirs" / f"{name}-{outtype}.gguf" for name in names for outtype in OUTTYPES
    }
    sources = {name: for_oracle(name, checkpoints[name]) for name in names}
    failed = oracle.convert(
        [
            {
                "pre": variants()[name].pre,
                "checkpoint": str(sources[name]),
                "target": str(path),
                "outtype": outtype,
            }
            for (name, outtype), path in theirs.items()
        ]
    )
    for name, outtype in theirs:
        ours = oracle.work / "ours" / f"{name}-{outtype}.gguf"
        pre = None if is_sentencepiece(checkpoints[name]) else variants()[name].pre
        convert(checkpoints[name], ours, outtype=outtype, pre=pre)
        if why := failed.get(str(theirs[name, outtype])):
            expected = variants()[name].oracle_fails
            findings.append({"variant": name, "outtype": outtype, "differences": [] if expected else [why]})
            print(f"  {name:26} {outtype:5} llama.cpp's converter fails: {why[:90]}", flush=True)
            continue
        differences, n_tensors, n_keys = differing(ours, theirs[name, outtype], variants()[name].own_keys)
        findings.append({"variant": name, "outtype": outtype, "tensors": n_tensors, "differences": differences})
        verdict = "equal" if not differences else "; ".join(differences[:5])
        print(f"  {name:26} {outtype:5} {n_tensors:3} tensors, {n_keys:2} keys: {verdict}", flush=True)
    return not any(finding["differences"] for finding in findings), findings


def differing(ours: Path, theirs: Path, own_keys: tuple[str, ...] = ()) -> tuple[list[str], int, int]:
    """Name what differs: keys, their order, types and values; tensors, their order, shapes, types and bytes.

    Args:
        own_keys: those that are meant to differ; the logits are their proof.
    """
    one, other = GGUFReader(ours), GGUFReader(theirs)
    differences = []
    left_out = (*own_keys, "GGUF.kv_count") if own_keys else ()
    keys, their_keys = ([key for key in each.fields if key not in left_out] for each in (one, other))
    for key in dict.fromkeys(their_keys + keys):
        if key not in one.fields or key not in other.fields:
            differences.append(f"key {key} only in {'theirs' if key in other.fields else 'ours'}")
        elif one.fields[key].types != other.fields[key].types:
            differences.append(f"key {key} has another type")
        elif not _same_value(one.fields[key].contents(), other.fields[key].contents()):
            differences.append(f"key {key} has another value")
    if not differences and keys != their_keys:
        differences.append("keys in another order")
    mine = {tensor.name: tensor for tensor in one.tensors}
    yours = {tensor.name: tensor for tensor in other.tensors}
    for name in dict.fromkeys([*yours, *mine]):
        if name not in mine or name not in yours:
            differences.append(f"tensor {name} only in {'theirs' if name in yours else 'ours'}")
        elif mine[name].tensor_type != yours[name].tensor_type or list(mine[name].shape) != list(yours[name].shape):
            differences.append(f"tensor {name} has another type or shape")
        elif mine[name].data.tobytes() != yours[name].data.tobytes():
            differences.append(f"tensor {name} has other bytes")
    if not differences and list(mine) != list(yours):
        differences.append("tensors in another order")
    return differences, len(yours), len(their_keys)


def _same_value(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.float32(one) == np.float32(other) or one == other)
    return bool(one == other)
