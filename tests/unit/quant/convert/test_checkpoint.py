"""Reading untrusted checkpoints: every header is bounded and checked before anything is read."""

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant.base.errors import UserError
from quant.convert.checkpoint import Tensor, open_checkpoint, read_config

CONFIG = {"architectures": ["LlamaForCausalLM"]}
MIB = 1 << 20


def _file(header: Any, data: bytes = b"") -> bytes:
    """Put a safetensors file together; a header that is bytes is taken as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _entry(shape: Any = (2, 3), begin: Any = 0, end: Any = 24, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def _folder(folder: Path, files: dict[str, bytes], config: Any = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _single(folder: Path, content: bytes) -> Path:
    return _folder(folder, {"model.safetensors": content})


def _index(weight_map: Any) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": weight_map}).encode()


def _short(value: str | bytes) -> str:
    """Name a test by the start of its input."""
    return repr(value[:24])


def _one_line(folder: Path) -> dict[str, Tensor]:
    """Return the tensors, or none where the refusal is one line; anything else is let out."""
    try:
        return open_checkpoint(folder).tensors
    except UserError as error:
        said = str(error)
    assert said.isprintable()
    return {}


def _refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        open_checkpoint(folder)
    said = str(error.value)
    assert said.isprintable()
    assert str(folder) in said
    return said


# --- what is read


def test_a_tensor_is_described_by_its_header_and_read_in_pieces(tmp_path):
    values = np.arange(6, dtype="<f4")
    halves = np.array([1.0, -2.0], dtype="<f2")
    header = {
        "__metadata__": {"format": "pt"},
        "matrix": _entry(),
        "vector": _entry([2], 24, 28, "F16"),
        "bits": _entry([1], 28, 30, "BF16"),
    }
    content = _file(header, values.tobytes() + halves.tobytes() + b"\x80\x3f")
    tensors = open_checkpoint(_single(tmp_path, content)).tensors

    assert list(tensors) == ["matrix", "vector", "bits"]
    matrix = tensors["matrix"]
    assert (matrix.dtype, matrix.shape, matrix.n_elements) == ("F32", (2, 3), 6)
    assert matrix.offset == len(content) - 30
    assert matrix.read(0, 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert matrix.read(4, 2).tolist() == [4, 5]
    assert tensors["vector"].read(1, 1).tolist() == [-2.0]
    assert tensors["vector"].read(0, 2).dtype == np.float16
    assert tensors["bits"].read(0, 1).tolist() == [0x3F80]  # bfloat16 is read as its bits
    assert tensors["bits"].read(0, 1).dtype == np.uint16


def test_a_piece_is_memory_of_its_own_and_not_a_mapped_page(tmp_path):
    tensor = open_checkpoint(_single(tmp_path, _file({"t": _entry()}, bytes(24)))).tensors["t"]
    piece = tensor.read(0, 6)
    assert not isinstance(piece, np.memmap)
    assert piece.flags.owndata
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert piece.tolist() == [0.0] * 6


def test_a_scalar_and_an_empty_tensor_have_their_size(tmp_path):
    header = {"scalar": _entry([], 0, 4), "empty": _entry([0, 5], 4, 4)}
    tensors = open_checkpoint(_single(tmp_path, _file(header, bytes(4)))).tensors
    assert (tensors["scalar"].n_elements, tensors["empty"].n_elements) == (1, 0)


def test_a_type_that_is_not_converted_is_refused_when_it_is_read(tmp_path):
    folder = _single(tmp_path, _file({"t": _entry([3], 0, 24, "I64")}, bytes(24)))
    tensor = open_checkpoint(folder).tensors["t"]
    with pytest.raises(
        UserError, match=r"tensor t in .*model\.safetensors is I64; F64, F32, F16 and BF16 are converted"
    ):
        tensor.read(0, 3)


def test_a_file_that_shrinks_or_vanishes_afterwards_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    tensor = open_checkpoint(_single(tmp_path, _file({"t": _entry()}, bytes(24)))).tensors["t"]
    os.truncate(path, path.stat().st_size - 4)
    with pytest.raises(UserError, match=r"model\.safetensors ended while tensor t was read; download it again"):
        tensor.read(0, 6)
    path.unlink()
    with pytest.raises(UserError, match=r"cannot read .*model\.safetensors: No such file or directory"):
        tensor.read(0, 6)


def test_shards_are_read_with_an_index_and_without(tmp_path):
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    files = {one: _file({"a": _entry()}, bytes(24)), two: _file({"b": _entry()}, bytes(24))}
    assert list(open_checkpoint(_folder(tmp_path / "without", files)).tensors) == ["a", "b"]
    files["model.safetensors.index.json"] = _index({"b": two, "a": one})
    tensors = open_checkpoint(_folder(tmp_path / "with", files)).tensors
    assert {name: tensor.path.name for name, tensor in tensors.items()} == {"a": one, "b": two}


@pytest.mark.parametrize(
    "index", [_index({"old": "part.safetensors"}), b"not JSON", b"{}"], ids=["whole", "no", "empty"]
)
def test_the_single_file_comes_before_an_index(tmp_path, index):
    files = {
        "model.safetensors": _file({"new": _entry()}, bytes(24)),
        "part.safetensors": _file({"old": _entry()}, bytes(24)),
        "model.safetensors.index.json": index,
    }
    found = open_checkpoint(_folder(tmp_path, files))
    assert list(found.tensors) == ["new"]
    assert len(found.notes) == (b"part" in index)  # two whole sets are worth a line


def test_an_index_whose_shards_are_gone_is_no_error_beside_the_single_file(tmp_path):
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    files = {
        "model.safetensors": _file({"new": _entry()}, bytes(24)),
        "model.safetensors.index.json": _index({"a": one, "b": two}),
    }
    found = open_checkpoint(_folder(tmp_path, files))
    assert (list(found.tensors), found.notes) == (["new"], ())
    (tmp_path / one).write_bytes(_file({"a": _entry()}, bytes(24)))  # one of two is no set either
    assert list(open_checkpoint(tmp_path).tensors) == ["new"]
    (tmp_path / "model.safetensors").unlink()
    assert f"lacks {two}, which its index names" in _refusal(tmp_path)


def test_an_index_that_names_the_single_file_and_another_is_followed(tmp_path):
    files = {
        "model.safetensors": _file({"a": _entry()}, bytes(24)),
        "more.safetensors": _file({"b": _entry()}, bytes(24)),
        "model.safetensors.index.json": _index({"a": "model.safetensors", "b": "more.safetensors"}),
    }
    assert list(open_checkpoint(_folder(tmp_path, files)).tensors) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("consolidated.safetensors", "Mistral's own format"),
        ("model.fp16.safetensors", "rename the file to model.safetensors"),
        ("weights.safetensors", "rename the file to model.safetensors"),
        ("adapter_model.safetensors", "holds an adapter"),
        ("m-Q4_0.GGUF", "pass one of its GGUF files"),
    ],
)
def test_what_is_there_instead_of_the_weights_is_named(tmp_path, name, words):
    said = _refusal(_folder(tmp_path, {name: b""}))
    assert words in said
    assert name in said or "adapter" in name


@pytest.mark.parametrize("with_config", [True, False])
def test_an_adapters_base_model_is_named(tmp_path, with_config):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base\x1b[2J"}))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    if with_config:
        (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert "an adapter of org/base" in _refusal(tmp_path)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 269060552\n"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "model-00001-of-00002.safetensors"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, name):
    _single(tmp_path, _file({"t": _entry()}, bytes(24)))
    if name.startswith("model-"):
        (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_bytes(POINTER)
    said = _refusal(tmp_path)
    assert "Git LFS pointer" in said
    assert f"{name} is" in said


@pytest.mark.parametrize(
    ("dtype", "shape", "n_bytes"),
    [
        ("U32", (2, 3), 24),
        ("F8_E8M0", (6,), 6),
        ("F4", (6,), 3),
        ("F6_E2M3", (4,), 3),
        ("U16", (3,), 6),
        ("C64", (1,), 8),
    ],
)
def test_every_type_of_the_format_is_known_by_its_size(tmp_path, dtype, shape, n_bytes):
    entry = _entry(shape, 0, n_bytes, dtype)
    tensor = open_checkpoint(_single(tmp_path, _file({"t": entry}, bytes(n_bytes)))).tensors["t"]
    assert tensor.is_packed == (dtype != "C64")
    with pytest.raises(UserError, match=f"tensor t in .* is {dtype}[,;]"):
        tensor.read(0, 1)


@pytest.mark.parametrize("settings", [{"quant_method": "hqq"}, {"quant_method": "torchao", "bits": 4}])
def test_settings_of_a_quantization_beside_plain_weights_are_noted_and_ignored(tmp_path, settings):
    files = {"model.safetensors": _file({"t": _entry()}, bytes(24))}
    found = open_checkpoint(_folder(tmp_path, files, CONFIG | {"quantization_config": settings}))
    assert settings["quant_method"] in found.notes[0]
    read = open_checkpoint(_folder(tmp_path, files, CONFIG | {"quantization_config": {"quant_method": "gptq"}}))
    assert (list(read.tensors), read.parts) == (["t"], None)
    packed = {"model.safetensors": _file({"t": _entry(dtype="U32")}, bytes(24))}
    assert "quantized already" in _refusal(_folder(tmp_path, packed, CONFIG | {"quantization_config": settings}))


def test_a_quantization_at_run_time_is_refused_though_its_weights_look_plain(tmp_path):
    files = {"model.safetensors": _file({"t": _entry()}, bytes(24))}
    folder = _folder(tmp_path, files, CONFIG | {"quantization_config": {"quant_method": "bitnet"}})
    assert "quantized already (bitnet)" in _refusal(folder)


def test_a_hub_cache_of_links_is_read_like_plain_files(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "c0ffee"
    _single(blobs, _file({"t": _entry()}, np.arange(6, dtype="<f4").tobytes()))
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    found = open_checkpoint(snapshot)
    assert found.config == CONFIG
    assert found.tensors["t"].read(0, 6).tolist() == [0, 1, 2, 3, 4, 5]


# --- a single file's header


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "too short"),
        (b"\x08\0\0\0\0\0\0", "too short"),
        (struct.pack("<Q", 3) + b"{}", "longer than the file"),
        (struct.pack("<Q", (1 << 64) - 1) + b"{}", "longer than the file"),
        (_file(b""), "no JSON"),
        (_file(b"not JSON"), "no JSON"),
        (_file(b'{"t": '), "no JSON"),
        (_file(b"\xff\xfe\x00"), "no JSON"),
        (_file(b'{"t": ' + b"1" * 5000 + b"}"), "no JSON"),
        (_file(b"[" * 200_000 + b"]" * 200_000), "no JSON"),
        (_file(b'{"t":' * 200_000 + b"1" + b"}" * 200_000), "no JSON"),
        (_file(b"[]"), "no JSON object"),
        (_file(b"null"), "no JSON object"),
        (_file({"t": []}), "invalid: Expected `object`"),
        (_file({"t": None}), "invalid: Expected `object`"),
        (_file({"t": {}}), "dtype`"),
        (_file({"t": _entry(dtype=7)}), "dtype`"),
        (_file({"t": {"dtype": "F32", "data_offsets": [0, 0]}}), "shape"),
        (_file({"t": _entry([-1])}), "shape"),
        (_file({"t": _entry([1.5])}), "shape"),
        (_file({"t": _entry([True])}), "shape"),
        (_file({"t": _entry([1 << 40])}), "shape"),
        (_file({"t": _entry([1] * 9)}), "shape"),
        (_file({"t": {"dtype": "F32", "shape": [1]}}), "data_offsets"),
        (_file({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}), "data_offsets"),
        (_file({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}), "data_offsets"),
        (_file({"t": _entry(begin=0.0)}), "data_offsets"),
        (_file({"t": _entry(begin=False)}), "data_offsets"),
        (_file({"t": _entry(dtype="F2")}, bytes(24)), "has the unknown type F2"),
        (_file({"t": _entry(begin=-24, end=0)}, bytes(24)), "a size that does not match its shape"),
        (_file({"t": _entry(begin=24, end=0)}, bytes(24)), "a size that does not match its shape"),
        (_file({"t": _entry(end=20)}, bytes(24)), "a size that does not match its shape"),
        (_file({"t": _entry(end=28)}, bytes(28)), "a size that does not match its shape"),
        (_file({"t": _entry(dtype="BF16")}, bytes(24)), "a size that does not match its shape"),
        (_file({"t": _entry([(1 << 40) - 1] * 8)}, bytes(24)), "a size that does not match its shape"),
        (_file({"t": _entry()}, bytes(20)), "truncated: tensor t ends 4 bytes after its end"),
        (_file({"t": _entry(begin=1 << 62, end=(1 << 62) + 24)}, bytes(24)), "truncated"),
        (_file({"t": _entry(), "u": _entry(begin=20, end=44)}, bytes(44)), "tensors overlap"),
        (_file({"t": _entry(), "u": _entry()}, bytes(24)), "tensors overlap"),
        (_file({"u": _entry(begin=24, end=48), "t": _entry(end=24 << 1, shape=(4, 3))}, bytes(48)), "tensors overlap"),
        (_file({"a\x1b[2J\nb": []}), "invalid: Expected `object`"),
        (_file(b'{"\\ud800": []}'), "invalid: Expected `object`"),
        (_file({"n" * 5000: []}), "invalid: Expected `object`"),
        (_file({"t": _entry(dtype="D" * 5000)}), "has the unknown type"),
    ],
    ids=_short,
)
def test_a_broken_header_is_one_line(tmp_path, content, words):
    said = _refusal(_single(tmp_path, content))
    assert words in said
    assert len(said) < 400 + len(str(tmp_path))


def test_a_header_beyond_100_mib_is_not_read(tmp_path):
    path = _single(tmp_path, struct.pack("<Q", 100 * MIB + 1)) / "model.safetensors"
    os.truncate(path, 300 * MIB)  # sparse: the length is within the file
    said = _refusal(tmp_path)
    assert "is 104857601 bytes long, but the format allows 104857600" in said


# --- an index


@pytest.mark.parametrize(
    "name", ["../m.safetensors", "/m.safetensors", "sub/m.safetensors", "..", "", "m.bin", 7, None]
)
def test_an_index_that_points_outside_its_directory_is_refused(tmp_path, name):
    (tmp_path / "m.safetensors").write_bytes(_file({"t": _entry()}, bytes(24)))
    (tmp_path / "c" / "sub").mkdir(parents=True)
    folder = _folder(tmp_path / "c", {"model.safetensors.index.json": _index({"t": name})})
    assert f"puts t into {name!r}, which is no file in this directory" in _refusal(folder)


def test_a_missing_shard_is_named(tmp_path):
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    files = {one: _file({"a": _entry()}, bytes(24)), "model.safetensors.index.json": _index({"a": one, "b": two})}
    assert f"lacks {two}, which its index names" in _refusal(_folder(tmp_path, files))


def test_without_an_index_the_shards_that_are_there_are_read(tmp_path):
    files = {"model-00001-of-00002.safetensors": _file({"a": _entry()}, bytes(24))}
    assert list(open_checkpoint(_folder(tmp_path, files)).tensors) == ["a"]  # converting finds what is missing


def test_a_missing_tensor_is_named_with_the_number_of_others(tmp_path):
    part = "model-00001-of-00001.safetensors"
    weight_map = dict.fromkeys(("a", "c", "b"), part)
    files = {part: _file({"a": _entry()}, bytes(24)), "model.safetensors.index.json": _index(weight_map)}
    assert "lacks 2 tensors that its index names, such as b" in _refusal(_folder(tmp_path, files))


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    files = {f"model-0000{i}-of-00002.safetensors": _file({"a": _entry()}, bytes(24)) for i in (1, 2)}
    assert "tensor a is in two files" in _refusal(_folder(tmp_path, files))


@pytest.mark.parametrize("index", [b"{}", b'{"weight_map": {}}', b'{"weight_map": []}', b'{"weight_map": "a"}'])
def test_an_index_without_a_weight_map_is_refused(tmp_path, index):
    assert "has no weight_map" in _refusal(_folder(tmp_path, {"model.safetensors.index.json": index}))


@pytest.mark.parametrize("index", [b"", b"{", b"[" * 200_000, b"[]", b"\xff"], ids=_short)
def test_an_index_that_is_no_object_is_refused(tmp_path, index):
    assert "JSON" in _refusal(_folder(tmp_path, {"model.safetensors.index.json": index}))


# --- pickles


class _Trap:
    """Whoever unpickles this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["model.bin", "consolidated.00.pth", "model.pt", "pytorch_model-1.bin"])
def test_pickles_of_other_names_are_named_and_never_opened(tmp_path, name, monkeypatch):
    trap = pickle.dumps(_Trap(tmp_path / "sprung"))
    folder = _folder(tmp_path / "c", {name: trap, "training_args.bin": trap})
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened.append(self.name) or real(self, *a, **k))
    assert f"it holds {name}, which transformers does not load either" in _refusal(folder)
    assert not {name, "training_args.bin"} & set(opened)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_pickled_weights_that_do_something_are_refused(tmp_path, name):
    folder = _folder(tmp_path / "c", {name: pickle.dumps(_Trap(tmp_path / "sprung"))})
    assert "names pathlib.Path.touch, which no weights need" in _refusal(folder)
    assert not (tmp_path / "sprung").exists()


def test_double_precision_is_rounded_to_single(tmp_path):
    values = np.array([1 / 3, 1e-60, 1e300])
    entry = {"t": _entry([3], 0, 24, "F64")}
    (tensor,) = open_checkpoint(_single(tmp_path, _file(entry, values.tobytes()))).tensors.values()
    assert (tensor.read_dtype, tensor.read(0, 3).dtype) == ("F32", np.float32)
    assert tensor.read(0, 3).tolist() == [np.float32(1 / 3), 0.0, np.inf]


def test_a_pickle_under_a_safetensors_name_is_no_header(tmp_path):
    _single(tmp_path / "c", pickle.dumps(_Trap(tmp_path / "sprung")))
    assert "longer than the file" in _refusal(tmp_path / "c")
    assert not (tmp_path / "sprung").exists()


def test_a_directory_without_weights_names_what_to_download(tmp_path):
    assert "has no safetensors files; download model.safetensors too" in _refusal(_folder(tmp_path, {}))


# --- config.json


def test_a_directory_without_a_config_is_no_checkpoint(tmp_path):
    assert "has no config.json" in _refusal(tmp_path)
    assert "has no config.json" in _refusal(tmp_path / "nowhere")
    (tmp_path / "config.json").mkdir()
    assert "has no config.json" in _refusal(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", '"x"', "[" * 200_000, '{"a":' * 200_000, "\x00", "\ufeff"]
)
def test_a_config_that_is_no_object_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    said = _refusal(tmp_path)
    assert "config.json" in said
    assert "JSON" in said


def test_a_huge_config_is_not_read(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    os.truncate(tmp_path / "config.json", 16 * MIB + 1)
    assert "larger than any such file known" in _refusal(tmp_path)


def test_a_config_is_given_as_it_is(tmp_path):
    _folder(tmp_path, {}, {"a": None, "b": [1, 2.5]})
    assert read_config(tmp_path) == {"a": None, "b": [1, 2.5]}


@pytest.mark.parametrize("architectures", [None, [], {}, "LlamaForCausalLM", [None], [["x"]], [3]])
def test_a_config_that_names_no_architecture_is_refused(tmp_path, architectures):
    checkpoint = open_checkpoint(_single(tmp_path, _file({"t": _entry()}, bytes(24))))
    checkpoint.config["architectures"] = architectures
    with pytest.raises(UserError, match=r"config\.json names no architecture"):
        checkpoint.architecture  # noqa: B018


def test_synthetic_weights_name_their_model(tmp_path):
    checkpoint = open_checkpoint(_single(tmp_path, _file({"t": _entry()}, bytes(24))))
    assert checkpoint.architecture == "LlamaForCausalLM"
    assert checkpoint.standin_for is None
    checkpoint.config.update(slmprof_standin_for="smollm2-135m", slmprof_standin_family="opt")
    assert (checkpoint.standin_for, checkpoint.standin_family) == (None, None)
    checkpoint.config.update(slmprof_synthetic=True)
    assert (checkpoint.standin_for, checkpoint.standin_family) == ("smollm2-135m", "opt")
    del checkpoint.config["slmprof_standin_family"]
    assert checkpoint.standin_family is None


# --- any damage at all

_GOOD = _file({"a": _entry(), "b": _entry([4], 24, 32, "F16"), "c": _entry([2, 2], 32, 40, "BF16")}, bytes(range(40)))
_HEADER_BYTES = len(_GOOD) - 40


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, _HEADER_BYTES - 1), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.one_of(st.none(), st.integers(0, len(_GOOD))),
)
def test_any_changed_bytes_yield_tensors_within_the_file_or_one_line(tmp_path, changes, cut):
    broken = bytearray(_GOOD)
    for place, value in changes:
        broken[place] = value
    folder = _single(tmp_path, bytes(broken[:cut]))
    size = (folder / "model.safetensors").stat().st_size
    for tensor in _one_line(folder).values():
        assert 8 <= tensor.offset <= size
        if tensor.dtype in ("F32", "F16", "BF16"):
            assert tensor.read(0, tensor.n_elements).size == tensor.n_elements


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 1 << 70), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.one_of(st.sampled_from(["F32", "BF16", "F64", "BOOL"]), _JSON),
    shape=st.one_of(st.lists(st.integers(-1, 9), max_size=3), _JSON),
    span=st.one_of(st.lists(st.integers(-8, 64), min_size=2, max_size=2), _JSON),
    more=_JSON,
)
def test_any_json_in_the_header_yields_tensors_or_one_line(tmp_path, dtype, shape, span, more):
    header = {"t": {"dtype": dtype, "shape": shape, "data_offsets": span}, "u": more}
    for tensor in _one_line(_single(tmp_path, _file(header, bytes(40)))).values():
        assert tensor.n_elements <= 40


@pytest.mark.parametrize(
    "header",
    [
        {"t": {"dtype": "\ud800", "shape": [2], "data_offsets": [0, 8]}},
        {"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], "\udfff": 1}},
        {"t": {"dtype": "F32", "shape": ["\ud800"], "data_offsets": [0, 8]}},
        {"\ud800": {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}},
    ],
)
def test_half_a_utf_16_pair_in_the_header_is_one_line(tmp_path, header):
    _one_line(_single(tmp_path, _file(header, bytes(8))))
