"""Both converters, key by key and byte by byte."""

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.gguf_reader import ReaderField, ReaderTensor

from quant.convert.to_gguf import convert
from quant.convert.tokenizer.vocabulary import is_sentencepiece
from tests.families import for_oracle, make_variant, variants
from tests.parity.oracle import Oracle

OUTTYPES = ("f32", "f16", "bf16", "auto")
# Powers of e, in whose last bit torch differs between its builds: MKL, AVX2, ARM.
_POWERS = (".ssm_a",)


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
    """Return what differs, and the numbers of their tensors and keys.

    Args:
        own_keys: those that are meant to differ; the logits are their proof. This program's own are, too.
    """
    one, other = GGUFReader(ours), GGUFReader(theirs)
    own_keys = (*own_keys, *(key for key in one.fields if key.startswith("slmprof.")))
    omitted = (*own_keys, "GGUF.kv_count") if own_keys else ()
    one_fields, other_fields = (
        {key: field for key, field in each.fields.items() if key not in omitted} for each in (one, other)
    )
    mine, yours = ({tensor.name: tensor for tensor in each.tensors} for each in (one, other))
    differences = _differing_keys(one_fields, other_fields) + _differing_tensors(mine, yours)
    return differences, len(yours), len(other_fields)


def _differing_keys(ours: dict[str, ReaderField], theirs: dict[str, ReaderField]) -> list[str]:
    """Name the keys whose presence, type or value differs, else whether their order does."""
    differences = []
    for key in dict.fromkeys([*theirs, *ours]):
        if key not in ours or key not in theirs:
            differences.append(f"key {key} only in {'theirs' if key in theirs else 'ours'}")
        elif ours[key].types != theirs[key].types:
            differences.append(f"key {key} has another type")
        elif not _same_value(ours[key].contents(), theirs[key].contents()):
            differences.append(f"key {key} has another value")
    if not differences and list(ours) != list(theirs):
        differences.append("keys in another order")
    return differences


def _differing_tensors(ours: dict[str, ReaderTensor], theirs: dict[str, ReaderTensor]) -> list[str]:
    """Name the tensors whose presence, type, shape or bytes differ, else whether their order does."""
    differences = []
    for name in dict.fromkeys([*theirs, *ours]):
        if name not in ours or name not in theirs:
            differences.append(f"tensor {name} only in {'theirs' if name in theirs else 'ours'}")
        elif (ours[name].tensor_type, list(ours[name].shape)) != (theirs[name].tensor_type, list(theirs[name].shape)):
            differences.append(f"tensor {name} has another type or shape")
        elif not _same_data(ours[name], theirs[name]):
            differences.append(f"tensor {name} has other bytes")
    if not differences and list(ours) != list(theirs):
        differences.append("tensors in another order")
    return differences


def _same_data(one: ReaderTensor, other: ReaderTensor) -> bool:
    """Return whether all bytes are equal; of powers of e, whether all values are or are neighbours."""
    if one.name.endswith(_POWERS) and one.data.dtype == other.data.dtype == np.float32:
        return bool((np.abs(one.data - other.data) <= np.spacing(np.abs(other.data))).all())
    return one.data.tobytes() == other.data.tobytes()


def _same_value(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.float32(one) == np.float32(other) or one == other)
    return bool(one == other)
