"""Save checkpoints again with torch.save, and a tensor of every type with torch.save and safetensors.

Usage: pickles.py JOBS.json with {"jobs": [{"checkpoint", "target", "form"}], "types": FOLDER}.
"""

import json
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

jobs = json.loads(Path(sys.argv[1]).read_text())
OPTIONS = {"legacy": {"_use_new_zipfile_serialization": False}, "protocol5": {"pickle_protocol": 5}}


def transposed(tensor):
    """Return the same matrix, stored the other way round, and a vector as every second value of a longer one's half."""
    if tensor.dim() == 2:
        return tensor.t().contiguous().t()
    return torch.cat([tensor.flatten()] * 2)[tensor.numel() :].reshape(tensor.shape)


def state_dict(path, form):
    """Return a file's tensors as a module's state_dict has them."""
    found = OrderedDict(load_file(path))
    if form == "transposed":
        found = OrderedDict((name, transposed(tensor)) for name, tensor in found.items())
    if form == "double":
        found = OrderedDict((name, tensor.double()) for name, tensor in found.items())
    if form == "parameters":
        found = OrderedDict((name, torch.nn.Parameter(each, each.is_floating_point())) for name, each in found.items())
    found._metadata = OrderedDict({"": {"version": 1}})
    return found


for job in jobs["jobs"]:
    source, target = Path(job["checkpoint"]), Path(job["target"])
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors*"))
    for path in sorted(source.glob("*.safetensors")):
        name = path.name.replace("model", "pytorch_model", 1).replace(".safetensors", ".bin")
        torch.save(state_dict(path, job["form"]), target / name, **OPTIONS.get(job["form"], {}))
    index = source / "model.safetensors.index.json"
    if index.exists():
        text = index.read_text().replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
        (target / "pytorch_model.bin.index.json").write_text(text)

types = Path(jobs["types"])
types.mkdir(parents=True)
torch.manual_seed(0)
names = (
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"),
    *("float8_e5m2fnuz", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"),
)
tensors = {name: (torch.randn(5, 7) * 50).to(getattr(torch, name)) for name in names}
tensors |= {"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 3), "row": torch.arange(12.0)[5:7]}
save_file({name: tensor.clone() for name, tensor in tensors.items()}, types / "types.safetensors")
views = {f"{name}.t": tensor.t() for name, tensor in tensors.items() if name in ("float32", "bfloat16", "float64")}
views |= {f"{name}.part": tensors[name][1:4, 2:5] for name in ("float32", "float16")}
views |= {"deep": torch.randn(3, 4, 5).permute(2, 0, 1), "tied": tensors["float32"]}
save_file({name: view.clone().contiguous() for name, view in views.items()}, types / "views.safetensors")
for form in ("zip", "legacy", "protocol5"):
    torch.save(tensors | views, types / f"{form}.bin", **OPTIONS.get(form, {}))
