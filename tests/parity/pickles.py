"""pytorch_model.bin as torch itself writes it, against safetensors of the same tensors and llama.cpp's converter.

Tensors of every type, and views of them, are read bit for bit as from safetensors. Checkpoints are saved again with
torch.save in several forms; the converted file must be that of the safetensors, and of llama.cpp's converter where that
reads the form.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from quant.convert.pickled.torch_file import read_torch_file
from quant.convert.safetensors_file import Tensor, read_header
from quant.convert.to_gguf import convert
from tests.families import make_variant, variants
from tests.parity.files import differing
from tests.parity.oracle import Oracle, run

VARIANTS = ("llama-tied-bf16", "llama-f16", "llama-sharded", "gpt2-masks", "gptneox-sequential-f32")
FORMS = ("zip", "legacy", "protocol5", "transposed", "parameters", "double")
# It maps files, which torch cannot in the older format, and its unpickler reads protocol 2 only.
_THEIR_FORMS = ("zip", "transposed", "parameters", "double")


def compare_pickles(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Compare tensors of every type, and checkpoints in every form."""
    print("pickled weights against safetensors and llama.cpp's converter", flush=True)
    folder = oracle.work / "pickles"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sources = {name: make_variant(name, oracle.work / "checkpoints") for name in VARIANTS}
    targets = {(name, form): folder / form / name for name in VARIANTS for form in FORMS}
    listed = folder / "jobs.json"
    jobs = [
        {"checkpoint": str(sources[name]), "target": str(path), "form": form} for (name, form), path in targets.items()
    ]
    listed.write_text(json.dumps({"jobs": jobs, "types": str(folder / "types")}))
    driver = Path(__file__).parent / "drivers" / "pickles.py"
    run([str(oracle.python), str(driver), str(listed)], quiet=True, PYTHONPATH="")
    findings = [_compare_types(folder / "types", form) for form in ("zip", "legacy", "protocol5")]
    theirs = {
        (name, form): path.with_name(f"{path.name}-theirs.gguf")
        for (name, form), path in targets.items()
        if form in _THEIR_FORMS and not variants()[name].oracle_fails
    }
    failed = oracle.convert(
        [
            {"pre": variants()[key[0]].pre, "checkpoint": str(targets[key]), "target": str(path), "outtype": "auto"}
            for key, path in theirs.items()
        ]
    )
    for key, path in targets.items():
        their = theirs.get(key)
        differences = [failed[str(their)]] if str(their) in failed else _differences(sources[key[0]], path, their, key)
        findings.append({"what": f"{key[0]}, {key[1]}", "differences": differences})
    for finding in findings:
        print(f"  {finding['what']:40} {'; '.join(finding['differences'][:5]) or 'equal'}", flush=True)
    return not any(finding["differences"] for finding in findings), findings


def _differences(source: Path, pickled: Path, theirs: Path | None, key: tuple[str, str]) -> list[str]:
    """Return what differs between the file of the pickles, that of the safetensors, and llama.cpp's."""
    variant = variants()[key[0]]
    ours, expected = (path.with_name(f"{path.name}-{key[1]}.gguf") for path in (pickled, source))
    convert(pickled, ours, pre=variant.pre)
    found = []
    if key[1] != "double":  # another type, so that "auto" writes another
        convert(source, expected, pre=variant.pre)
        found = differing(ours, expected)[0]
    if theirs is not None:
        found += [f"llama.cpp's: {each}" for each in differing(ours, theirs, variant.own_keys)[0]]
    return found


def _compare_types(folder: Path, form: str) -> dict[str, Any]:
    """Compare each tensor's type, shape and bytes; what is not converted is compared where its bytes are in a row."""
    expected = {each.name: each for name in ("types", "views") for each in read_header(folder / f"{name}.safetensors")}
    found = {each.name: each for each in read_torch_file(folder / f"{form}.bin")}
    differences = [f"{name} only in one" for name in sorted(found.keys() ^ expected.keys())]
    for name, tensor in found.items():
        other = expected[name]
        if (tensor.dtype, tensor.shape) != (other.dtype, other.shape) or _bytes(tensor) != _bytes(other):
            differences.append(name)
    return {"what": f"{len(found)} tensors of every type, {form}", "differences": differences}


def _bytes(tensor: Tensor) -> bytes:
    if tensor.is_plain:
        return tensor.read(0, tensor.n_elements).tobytes()
    return tensor.path.read_bytes()[tensor.offset : tensor.end]
