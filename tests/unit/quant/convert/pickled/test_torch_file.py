"""Files of torch.save are read as the safetensors of the same tensors, bit for bit."""

import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant.base.errors import UserError
from quant.convert.checkpoint import open_checkpoint
from quant.convert.pickled.torch_file import read_torch_file
from quant.convert.provenance import Origin, inputs_of
from quant.convert.safetensors_file import BITS, read_header
from quant.convert.to_gguf import convert
from quant.sources.kept_levels import checkpoint_identity
from tests.support.checkpoints import make_checkpoint
from tests.support.torch_files import (
    DTYPES,
    STORAGES,
    StateDict,
    Storage,
    View,
    as_pickled,
    rebuilding,
    torch_file,
    view_of,
)

FORMATS: list[dict[str, Any]] = [
    {},
    {"legacy": True},
    {"protocol": 3},
    {"protocol": 4},
    {"protocol": 5},
    {"legacy": True, "protocol": 4},
    {"zip64": True},
]
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def write(folder: Path, tensors: dict[str, View], *, kind: type = dict, **form: Any) -> Path:
    path = folder / "pytorch_model.bin"
    path.write_bytes(torch_file(rebuilding(tensors, kind), **form))
    return path


def safetensors(folder: Path, tensors: dict[str, View]) -> Path:
    header, data = {}, b""
    for name, view in tensors.items():
        span = [len(data), len(data) + len(view.storage.data)]
        header[name] = {"dtype": view.storage.dtype, "shape": list(view.shape), "data_offsets": span}
        data += view.storage.data
    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize("form", FORMATS, ids=str)
@pytest.mark.parametrize("kind", [dict, StateDict])
def test_every_type_is_read_as_from_safetensors(tmp_path, form, kind):
    source = np.random.default_rng(0)
    tensors = {}
    for dtype in (*STORAGES, *DTYPES):
        tensors[dtype] = view_of(dtype, (3, 4), source.bytes(12 * BITS[dtype] // 8), is_parameter=dtype == "F16")
    tensors["F32.scalar"] = view_of("F32", (), struct.pack("<f", 0.5))
    tensors["F32.empty"] = view_of("F32", (0, 3), b"")

    found = read_torch_file(write(tmp_path, tensors, kind=kind, **form))
    expected = read_header(safetensors(tmp_path, tensors))
    assert [(each.name, each.dtype, each.shape, each.is_plain) for each in found] == [
        (each.name, each.dtype, each.shape, each.is_plain) for each in expected
    ]
    for one, other in zip(found, expected, strict=True):
        data = one.path.read_bytes()[one.offset : one.end]
        assert data == other.path.read_bytes()[other.offset : other.end]
        if one.is_plain:
            mine, theirs = one.read(0, one.n_elements), other.read(0, one.n_elements)
            assert (mine.dtype, mine.tobytes()) == (theirs.dtype, theirs.tobytes())


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_that_share_a_storage_are_read_from_it(tmp_path, legacy):
    values = np.arange(24, dtype=np.float32)
    storage = Storage("F32", values.tobytes())
    tied = View(storage, (4, 6))
    tensors = {"embed": tied, "head": tied, "part": View(storage, (2, 6), 12), "again": View(storage, (24,))}
    path = write(tmp_path, tensors, legacy=legacy)
    found = {each.name: each for each in read_torch_file(path)}
    assert found["embed"].offset == found["head"].offset == found["part"].offset - 48
    assert np.array_equal(found["part"].read(0, 12), values[12:])
    assert path.read_bytes().count(values.tobytes()) == 1


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    pad=st.integers(0, 2),
    first=st.integers(0, 3),
    dtype=st.sampled_from(sorted(FLOATS)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_transposed_and_padded_tensors_are_read_in_their_own_order(tmp_path, shape, order, pad, first, dtype):
    axes = list(range(len(shape)))
    order.shuffle(axes)
    strides, step = [0] * len(shape), 1
    for axis in axes:
        strides[axis] = step
        step = step * shape[axis] + (pad if shape[axis] > 1 else 0)  # the elements of one axis are side by side
    n_values = first + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + 1
    values = np.arange(n_values).astype(FLOATS[dtype])
    view = View(Storage(dtype, values.tobytes()), tuple(shape), first, tuple(strides))
    (tensor,) = read_torch_file(write(tmp_path, {"t": view}))
    bytes_apart = [stride * values.itemsize for stride in strides]
    expected = np.lib.stride_tricks.as_strided(values[first:], shape, bytes_apart).reshape(-1)
    assert np.array_equal(tensor.read(0, tensor.n_elements), expected)
    for start in range(0, tensor.n_elements, 3):
        count = min(4, tensor.n_elements - start)
        assert np.array_equal(tensor.read(start, count), expected[start : start + count])
    assert tensor.read(0, 0).size == 0


@pytest.mark.parametrize("strides", [(0, 1), (1, 1), (1, 0), (2, 4), (3, 2)])
def test_elements_that_are_shared_or_apart_are_refused_when_they_are_needed(tmp_path, strides):
    view = View(Storage("F32", bytes(4 * 40)), (4, 3), 0, strides)
    (tensor,) = read_torch_file(write(tmp_path, {"t": view}))
    assert not tensor.is_plain
    with pytest.raises(UserError, match=f"tensor t in .* has the strides {re.escape(str(list(strides)))}"):
        tensor.read(0, 1)


def test_a_converted_file_is_that_of_the_safetensors(tmp_path):
    checkpoint = make_checkpoint(
        tmp_path / "c", hidden=32, layers=1, ffn=64, vocab=300, shards=3, tie=False, dtype="float16"
    )
    convert(checkpoint, tmp_path / "m.gguf")
    expected = (tmp_path / "m.gguf").read_bytes()
    shutil.copytree(checkpoint, tmp_path / "legacy" / "c")
    for folder, legacy in ((checkpoint, False), (tmp_path / "legacy" / "c", True)):
        as_pickled(folder, legacy=legacy)
        assert not list(folder.glob("*.safetensors"))
        report = convert(folder, tmp_path / "m.gguf")
        assert (tmp_path / "m.gguf").read_bytes() == expected
        assert report.tokens.n_lines > 0


# --- which files


def test_safetensors_come_first(tmp_path):
    checkpoint = make_checkpoint(tmp_path, hidden=32, layers=1, ffn=64, vocab=300)
    (checkpoint / "pytorch_model.bin").write_bytes(b"no pickle")
    found = open_checkpoint(checkpoint)
    assert {tensor.path.name for tensor in found.tensors.values()} == {"model.safetensors"}
    assert "pytorch_model.bin" not in {each.name for each in inputs_of(checkpoint)}


def test_pickled_weights_are_inputs_of_a_conversion(tmp_path):
    checkpoint = as_pickled(make_checkpoint(tmp_path, hidden=32, layers=1, ffn=64, vocab=300))
    (checkpoint / "training_args.bin").write_bytes(b"not read")
    assert {each.name for each in inputs_of(checkpoint)} >= {"pytorch_model.bin", "config.json"}
    assert "training_args.bin" not in {each.name for each in inputs_of(checkpoint)}
    before = checkpoint_identity(checkpoint, None, None, Origin())
    with (checkpoint / "pytorch_model.bin").open("ab") as file:
        file.write(b"more")
    assert checkpoint_identity(checkpoint, None, None, Origin()) != before


def test_the_single_file_comes_before_its_shards(tmp_path):
    checkpoint = as_pickled(make_checkpoint(tmp_path, hidden=32, layers=1, ffn=64, vocab=300, shards=2))
    write(checkpoint, {"t": view_of("F32", (1,), bytes(4))})
    found = open_checkpoint(checkpoint)
    assert list(found.tensors) == ["t"]
    assert "two sets of weights; pytorch_model.bin is used" in found.notes[0]


@pytest.mark.parametrize("part", ["../m.bin", "/m.bin", "m.safetensors", "sub/m.bin", 7])
def test_an_index_of_pickles_names_pickles_beside_it(tmp_path, part):
    checkpoint = make_checkpoint(tmp_path, hidden=32, layers=1, ffn=64, vocab=300)
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"t": part}}))
    with pytest.raises(UserError, match="which is no file in this directory"):
        open_checkpoint(checkpoint)


def test_a_missing_shard_is_named(tmp_path):
    checkpoint = as_pickled(make_checkpoint(tmp_path, hidden=32, layers=1, ffn=64, vocab=300, shards=2))
    (checkpoint / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(UserError, match=r"lacks pytorch_model-00002-of-00002\.bin, which its index names"):
        open_checkpoint(checkpoint)


def test_shards_without_an_index_are_read(tmp_path):
    checkpoint = as_pickled(make_checkpoint(tmp_path, hidden=32, layers=1, ffn=64, vocab=300, shards=2))
    n_tensors = len(open_checkpoint(checkpoint).tensors)
    (checkpoint / "pytorch_model.bin.index.json").unlink()
    assert len(open_checkpoint(checkpoint).tensors) == n_tensors
