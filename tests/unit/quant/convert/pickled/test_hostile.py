"""A pickle is a program; of these nothing runs, and each is refused in one line that names what it asked for."""

import io
import os
import pickle
import resource
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from quant.base.errors import UserError
from quant.convert.pickled import rebuild, unpickler
from quant.convert.pickled.torch_file import read_torch_file
from tests.support.torch_files import (
    MAGIC,
    Called,
    Named,
    Pickler,
    Storage,
    View,
    legacy_file,
    pickled,
    rebuilding,
    torch_file,
    view_of,
    zip_file,
    zip_of,
)

GOOD = {"t": view_of("F32", (2, 3), bytes(24))}
START, END = b"\x80\x02", b"."
EMPTY = START + b"}" + END
V2 = Named("torch._utils", "_rebuild_tensor_v2")


def refusal_of(folder: Path, data: bytes) -> str:
    path = folder / "pytorch_model.bin"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_torch_file(path)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) <= 2_000
    assert said.count(str(path)) == 1
    return said.replace(str(path), "FILE")


def in_both(data_pkl: bytes) -> list[bytes]:
    return [zip_file(data_pkl, {}), legacy_file(data_pkl, {})]


# --- names


class Trap:
    """Whoever unpickles this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("protocol", range(6))
def test_a_trap_is_named_and_does_not_spring(tmp_path, protocol):
    trap = pickle.dumps(Trap(tmp_path / "sprung"), protocol)
    for data in (zip_file(trap, {}), legacy_file(trap, {}), trap):
        said = refusal_of(tmp_path, data)
        assert ("names posix.mkdir, which no weights need" in said) or protocol < 2
        assert not (tmp_path / "sprung").exists()
    pickle.loads(trap)
    assert (tmp_path / "sprung").exists()


NAMES = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("subprocess", "Popen"),
    ("torch", "load"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_qtensor"),
    ("torch._utils", "_rebuild_sparse_tensor"),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"),
    ("torch.hub", "load"),
    ("torch", "ComplexDoubleStorage"),
    ("torch", "FloatStorage.from_file"),
    ("torch.FloatStorage", "from_file"),
    ("collections", "OrderedDict.update"),
    ("collections.OrderedDict", "update"),
    ("collections", "namedtuple"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
    ("quant.convert.pickled.rebuild", "ALLOWED"),
    ("", ""),
    ("os\x1b[31m", "system\u202e"),
    ("o" * 200, "s" * 200),
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_what_is_not_allowed_is_refused_by_its_name(tmp_path, module, name):
    shown = f"names {module[:120]}.{name[:120]},".replace("\x1b", " ").replace("\u202e", " ")
    line = f"{module}\n{name}\n".encode()
    texts = b"".join(b"X" + struct.pack("<I", len(text.encode())) + text.encode() for text in (module, name))
    for data_pkl in (
        START + b"c" + line + END,
        START + b"(i" + line + END,
        START + texts + b"\x93" + END,
        START + b"}X\1\0\0\0tc" + line + b")Rs" + END,
    ):
        for data in in_both(data_pkl):
            assert shown in refusal_of(tmp_path, data)


def test_what_is_allowed_is_what_this_list_says():
    names = {f"{module}.{name}" for module, name in rebuild.ALLOWED}
    assert {name for name in names if "Storage" not in name and "int" not in name and "float" not in name} == {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_parameter",
    }
    functions = {name for name, found in rebuild.ALLOWED.items() if isinstance(found, rebuild.Function)}
    assert len(functions) == 4


def test_no_name_is_imported(tmp_path):
    for data in in_both(START + b"cantigravity\nfly\n" + END):
        assert "names antigravity.fly" in refusal_of(tmp_path, data)
    assert "antigravity" not in sys.modules


# --- opcodes


@pytest.mark.parametrize(
    ("data_pkl", "says"),
    [
        (b"o", "the opcode OBJ"),
        (b"\x81", "the opcode NEWOBJ"),
        (b"\x92", "the opcode NEWOBJ_EX"),
        (b"\x821", "names the extension 49"),
        (b"\x83\1\1", "names the extension 257"),
        (b"\x84\1\0\0\0", "names the extension 1"),
        (b"P1\n", "the opcode PERSID"),
        (b"I1\n", "the opcode INT"),
        (b"L1\n", "the opcode LONG"),
        (b"F1\n", "the opcode FLOAT"),
        (b"S'a'\n", "the opcode STRING"),
        (b"V\n", "the opcode UNICODE"),
        (b"T\1\0\0\0a", "the opcode BINSTRING"),
        (b"B\1\0\0\0a", "the opcode BINBYTES"),
        (b"\x8e" + b"\xff" * 8, "the opcode BINBYTES8"),
        (b"\x96" + b"\xff" * 8, "the opcode BYTEARRAY8"),
        (b"\x97", "the opcode NEXT_BUFFER"),
        (b"\x8b\xff\xff\xff\x7f", "the opcode LONG4"),
        (b"\x8f", "the opcode EMPTY_SET"),
        (b"\x91", "the opcode FROZENSET"),
        (b"N0", "the opcode POP"),
        (b"N2", "the opcode DUP"),
        (b"(d", "the opcode DICT"),
        (b"(l", "the opcode LIST"),
        (b"N\xff", "byte 0xff in its pickle is no opcode"),
        (b"\x80\x01N", "a pickle of protocol 1"),
        (b"\x80\x06N", "a pickle of protocol 6"),
        (b"\x8a\xff", "a number of 255 bytes"),
        (b"\x8a\x11" + bytes(17), "a number of 17 bytes"),
        (b"", "takes a value where there is none"),
        (b"R", "takes a value where there is none"),
        (b"t", "takes values where there is no mark"),
        (b"u", "takes values where there is no mark"),
        (b"h\0", "repeats what was not there"),
        (b"Nq\0h\1", "repeats what was not there"),
        (b"Nq\1", "keeps a value out of order"),
        (b"Nq\0q\0", "keeps a value out of order"),
        (b"Nr\xff\xff\xff\xff", "keeps a value out of order"),
        (b"q\0", "takes a value where there is none"),
        (b"X\xff\xff\xff\xff", "a pickle of more than 16 MiB"),
        (b"\x8d" + b"\xff" * 8, "the opcode BINUNICODE8"),
        (b"X\2\0\0\0\xc3\x28", "is no UTF-8"),
        (b"X\3\0\0\0\xed\xa0\x80", "is no UTF-8"),
        (b"c\xff\n\xff\n", "is no UTF-8"),
        (b"c" + b"o" * 300 + b"\n\n", "a name in its pickle does not end"),
        (b"c" + b"o" * 10, "a name in its pickle does not end"),
        (b"NN\x93", "a name in its pickle is no text"),
        (b"}NNs", "a key in its pickle is no text"),
        (b"})Ns", "a key in its pickle is no text"),
        (b"}(X\1\0\0\0tu", "sets items of what is no dict"),
        (b"]X\1\0\0\0tNs", "sets items of what is no dict"),
        (b"}Na", "appends to what is no list"),
        (b"N)R", "calls what is no function"),
        (b"ctorch\nFloatStorage\n)R", "calls what is no function"),
        (b"ctorch\nuint16\n)R", "calls what is no function"),
        (b"ccollections\nOrderedDict\n]R", "calls a function without arguments"),
        (b"ccollections\nOrderedDict\n]\x85R", "an OrderedDict is made of arguments"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "a tensor has unknown arguments"),
        (b"ctorch._utils\n_rebuild_tensor_v3\n)R", "a tensor has unknown arguments"),
        (b"ctorch._utils\n_rebuild_parameter\n)R", "a parameter has unknown arguments"),
        (b"}}b", "sets the state of something"),
        (b"ccollections\nOrderedDict\n}b", "sets the state of something"),
        (b"ccollections\nOrderedDict\n)R}\x86b", "takes a value where there is none"),
        (b"ccollections\nOrderedDict\n)RNb", "sets the state of something"),
        (b"N", "holds no dict of tensors"),
        (b"]", "holds no dict of tensors"),
        (b"}X\1\0\0\0tNs", "holds 't', which is no tensor"),
        (b"}X\1\0\0\0tccollections\nOrderedDict\ns", "holds 't', which is no tensor"),
    ],
    ids=str,
)
def test_opcodes_and_values_that_no_weights_need(tmp_path, data_pkl, says):
    for data in in_both(START + data_pkl + END):
        assert says in refusal_of(tmp_path, data)


def test_a_pickle_that_ends_early(tmp_path):
    whole, storages = pickled(rebuilding(GOOD))
    for n_bytes in range(2, len(whole), 3):
        assert "broken" in refusal_of(tmp_path, zip_file(whole[:n_bytes], {key: bytes(24) for key in storages}))


# --- bombs


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_bombs_take_no_more_than_their_limit(tmp_path):
    before = _peak_mib()
    bombs = {
        b"N" + b"\x94" * 2_000_001: "more than 2000000 opcodes",
        b"N" + b"\x85" * 500_000: "holds no dict of tensors",
        b"X\0\0\0\1" + b"a" * (1 << 24): "a pickle of more than 16 MiB",
    }
    for data_pkl, says in bombs.items():
        assert says in refusal_of(tmp_path, legacy_file(START + data_pkl + END, {}))
    assert _peak_mib() - before < 200


@pytest.mark.parametrize("unit", [b"N\x85", b"(", b"]", b"}", b"}\x94", b"(t", b"N\x94"], ids=str)
def test_every_kind_of_value_is_counted(tmp_path, monkeypatch, unit):
    monkeypatch.setattr(unpickler, "MAX_OPCODES", 20_000)
    data_pkl = START + unit * 20_000 + END
    assert "a pickle of more than 20000 opcodes" in refusal_of(tmp_path, zip_file(data_pkl, {}))


def test_values_that_stand_for_billions_are_not_walked(tmp_path):
    doubled = b")" + b"".join(b"\x94h" + bytes([number]) + b"\x86" for number in range(200))
    deep = {
        b"N" + doubled + b"Q": "a persistent id is of no storage",
        b"ctorch._utils\n_rebuild_parameter\n" + doubled + b"R": "a parameter has unknown arguments",
        b"ctorch._utils\n_rebuild_tensor_v2\n" + doubled + b"R": "a tensor has unknown arguments",
        b"}" + doubled + b"Ns": "a key in its pickle is no text",
        doubled: "holds no dict of tensors",
        b"}X\1\0\0\0t" + doubled + b"s": "holds 't', which is no tensor",
    }
    for data_pkl, says in deep.items():
        assert says in refusal_of(tmp_path, zip_file(START + data_pkl + END, {}))


def test_a_dict_that_holds_itself(tmp_path):
    data_pkl = START + b"}q\0X\1\0\0\0th\0s" + END
    assert "holds 't', which is no tensor" in refusal_of(tmp_path, zip_file(data_pkl, {}))


# --- tensors and storages


class OddIds(Pickler):
    odd: Any

    def persistent_id(self, value: Any) -> Any:
        return self.odd if isinstance(value, Storage) else None


def with_id(*parts: Any) -> bytes:
    """Return a pickle of one tensor whose storage has this persistent id."""
    file = io.BytesIO()
    pickler = OddIds(file, 2)
    pickler.odd = parts if len(parts) != 1 else parts[0]
    pickler.dump({"t": Called(V2, Storage("F32", b""), 0, (2,), (1,), False, OrderedDict())})
    return file.getvalue()


FLOAT = Named("torch", "FloatStorage")


@pytest.mark.parametrize(
    "parts",
    [
        ("storage",),
        ("storage", FLOAT, "0", "cpu"),
        ("module", FLOAT, "0", "cpu", 6),
        ("storage", "FloatStorage", "0", "cpu", 6),
        ("storage", Named("torch", "uint16"), "0", "cpu", 6),
        ("storage", Named("collections", "OrderedDict"), "0", "cpu", 6),
        ("storage", FLOAT, 0, "cpu", 6),
        ("storage", FLOAT, "0", None, 6),
        ("storage", FLOAT, "0", "cpu", -6),
        ("storage", FLOAT, "0", "cpu", True),
        ("storage", FLOAT, "0", "cpu", 1 << 50),
        ("storage", FLOAT, "0", "cpu", 6.0),
        ("storage", FLOAT, "0", "cpu", 6, 7),
        ("storage", FLOAT, "0", "cpu", 6, ("1", 0, 6)),
        ("storage", FLOAT, "0", "cpu", 6, None, None),
        (["storage", FLOAT, "0", "cpu", 6],),
        ("0",),
    ],
    ids=str,
)
def test_a_persistent_id_of_wrong_form(tmp_path, parts):
    assert "a persistent id is of no storage" in refusal_of(tmp_path, zip_file(with_id(*parts), {"0": bytes(24)}))


@pytest.mark.parametrize("key", ["1", "../0", "/etc/passwd", "0/", "", "data.pkl", "x" * 10_000, "\x1b"])
def test_a_storage_that_is_not_there(tmp_path, key):
    data_pkl = with_id("storage", FLOAT, key, "cpu", 6)
    assert "the storage of tensor t is missing" in refusal_of(tmp_path, zip_file(data_pkl, {"0": bytes(24)}))
    assert "the storage of tensor t is missing" in refusal_of(tmp_path, legacy_file(data_pkl, {}))


def test_a_storage_of_two_types(tmp_path):
    one, other = Storage("F32", bytes(24)), Storage("F16", bytes(24))
    data_pkl = pickled(rebuilding({"a": View(one, (6,)), "b": View(other, (12,))}))[0]
    data_pkl = data_pkl.replace(b"X\1\0\0\x001", b"X\1\0\0\x000")
    assert "storage 0 has two types or lengths" in refusal_of(tmp_path, zip_file(data_pkl, {"0": bytes(24)}))


@pytest.mark.parametrize(
    ("view", "says"),
    [
        ({"shape": (2, 4)}, "is not within its storage"),
        ({"shape": (7,)}, "is not within its storage"),
        ({"first": 1}, "is not within its storage"),
        ({"first": 1 << 47}, "is not within its storage"),
        ({"first": 7, "shape": (0,)}, "is not within its storage"),
        ({"strides": (4, 1)}, "is not within its storage"),
        ({"strides": (1, 6)}, "is not within its storage"),
        ({"strides": (1 << 47, 1 << 47)}, "is not within its storage"),
        ({"shape": ((1 << 47), (1 << 47))}, "is not within its storage"),
        ({"first": -1}, "no counts"),
        ({"strides": (-3, 1)}, "no counts"),
        ({"shape": (-2, -3)}, "no counts"),
        ({"shape": (2.0, 3)}, "no counts"),
        ({"shape": (True, 3)}, "no counts"),
        ({"shape": (1 << 63, 1)}, "no counts"),
        ({"strides": (1,)}, "2 dimensions and 1 strides"),
        ({"shape": (1,) * 9}, "9 dimensions and 9 strides"),
        ({"strides": [3, 1]}, "unknown arguments"),
        ({"strides": "31"}, "unknown arguments"),
        ({"shape": [2, 3], "strides": (3, 1)}, "unknown arguments"),
        ({"first": None}, "unknown arguments"),
    ],
    ids=str,
)
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_that_leave_their_storage(tmp_path, view, says, legacy):
    made = View(Storage("F32", bytes(24)), **{"shape": (2, 3), **view})
    assert says in refusal_of(tmp_path, torch_file(rebuilding({"t": made}), legacy=legacy))


def test_a_typed_storage_is_no_untyped_one(tmp_path):
    hooks: Any = OrderedDict()
    storage, untyped = Storage("F32", bytes(24)), Storage("U16", bytes(24))
    v3 = Named("torch._utils", "_rebuild_tensor_v3")
    for call in (
        Called(V2, untyped, 0, (6,), (1,), False, hooks),
        Called(v3, storage, 0, (6,), (1,), False, hooks, Named("torch", "uint16")),
        Called(v3, untyped, 0, (6,), (1,), False, hooks, "uint16"),
        Called(v3, untyped, 0, (6,), (1,), False, hooks),
        Called(V2, storage, 0, (6,), (1,), False, hooks, {"neg": True}),
        Called(V2, storage, 0, (6,), (1,), False, hooks, {}, {}),
        Called(V2, "0", 0, (6,), (1,), False, hooks),
    ):
        assert "a tensor has unknown arguments" in refusal_of(tmp_path, torch_file({"t": call}))


def test_metadata_without_content_is_nothing(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    call = Called(V2, Storage("F32", bytes(24)), 0, (6,), (1,), False, OrderedDict(), {})
    path.write_bytes(torch_file({"t": call}))
    assert [tensor.shape for tensor in read_torch_file(path)] == [(6,)]


# --- the zip file


def test_members_that_are_packed(tmp_path):
    data_pkl, storages = pickled(rebuilding(GOOD))
    members = {"a/data.pkl": data_pkl, "a/data/0": bytes(24)}
    assert len(storages) == 1
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        assert "has the compressed member a/data.pkl" in refusal_of(tmp_path, file.getvalue())
    for flag in (1, 1 << 6, 1 << 13):
        assert "has the encrypted member a/data.pkl" in refusal_of(tmp_path, zip_of(members, flags=0x808 | flag))
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1 << 26))
    assert "has the compressed member" in refusal_of(tmp_path, bomb.getvalue())


def test_python_s_own_zip_files_are_read(tmp_path):
    data_pkl, _ = pickled(rebuilding(GOOD))
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data_pkl)
        archive.writestr("a/data/0", bytes(24))
    assert [tensor.shape for tensor in read_torch_file(path)] == [(2, 3)]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"a/data.pkl": EMPTY, "a/byteorder": b"big"}, "the other byte order"),
        ({"a/data.pkl": EMPTY, "a/constants.pkl": b""}, "a program of TorchScript"),
        ({"a/other.pkl": EMPTY}, "none of torch.save: it has no data.pkl"),
        ({"a/x": b"", "b/data.pkl": EMPTY}, "none of torch.save: it has no data.pkl"),
        ({"../data.pkl/": EMPTY}, "none of torch.save: it has no data.pkl"),
        ({"/data.pkl": b""}, "its pickle ends early"),
        ({"a/data.pkl": bytes((16 << 20) + 1)}, "a pickle of more than 16 MiB"),
        ({}, "is no file of torch.save"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_zip_files_of_something_else(tmp_path, members, says):
    assert says in refusal_of(tmp_path, zip_of(members))


def test_a_name_twice(tmp_path):
    data = zip_of({"a/data.pkl": EMPTY, "a/data/0": b"1", "a/data/1": b"2"})
    assert "two members a/data/0" in refusal_of(tmp_path, data.replace(b"a/data/1", b"a/data/0"))


def test_a_member_s_local_name_differs(tmp_path):
    data = zip_of({"a/data.pkl": EMPTY})
    assert "a/data.pkl of its zip file has two names" in refusal_of(tmp_path, data.replace(b"data.pkl", b"data.pkx", 1))


def test_members_over_each_other(tmp_path):
    data = zip_of({"a/data.pkl": EMPTY, "a/data/0": bytes(64)})
    central = data.index(b"PK\1\2")
    grown = bytearray(data)
    for at in (20, 24):
        grown[central + at : central + at + 4] = struct.pack("<I", 70)
    assert "members that overlap" in refusal_of(tmp_path, bytes(grown))


@pytest.mark.parametrize("zip64", [False, True])
def test_a_zip_file_that_is_cut_or_changed_anywhere(tmp_path, zip64):
    path = tmp_path / "pytorch_model.bin"
    data = torch_file(rebuilding(GOOD), zip64=zip64)
    (good,) = [(each.shape, each.dtype) for each in _read(path, data)]
    for n_bytes in range(0, len(data), 7):
        refusal_of(tmp_path, data[:n_bytes])
    for place in [*range(400), *range(data.index(b"PK\1\2"), len(data))]:
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        for each in _read(path, bytes(changed)):
            assert each.end <= len(data)
            assert (each.shape, each.dtype) == good or each.n_elements <= 6


def _read(path: Path, data: bytes) -> list[Any]:
    path.write_bytes(data)
    try:
        return list(read_torch_file(path))
    except UserError:
        return []


# --- the legacy format


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([MAGIC + 1], "is a pickle, but none of torch.save"),
        ([MAGIC, 1002], "is a pickle, but none of torch.save"),
        ([{}], "is a pickle, but none of torch.save"),
        ([MAGIC, 1001, {"little_endian": False}], "the other byte order"),
        ([MAGIC, 1001, {}], "the other byte order"),
        ([MAGIC, 1001, {"little_endian": True}, {}, {}], "its list of storages is no list of names"),
        ([MAGIC, 1001, {"little_endian": True}, {}, [1]], "its list of storages is no list of names"),
        ([MAGIC, 1001, {"little_endian": True}, {}, ["0"]], "storage 0 belongs to no tensor"),
        ([MAGIC, 1001, {"little_endian": True}, rebuilding(GOOD), ["0", "0"]], "no list of names"),
        ([MAGIC, 1001, {"little_endian": True}, rebuilding(GOOD), []], "the storage of tensor t is missing"),
        ([MAGIC, 1001, {"little_endian": True}, rebuilding(GOOD), ["0"]], "two lengths, 0 and 6"),
    ],
    ids=[str(number) for number in range(11)],
)
def test_legacy_files_that_contradict_the_format(tmp_path, parts, says):
    assert says in refusal_of(tmp_path, b"".join(pickled(part)[0] for part in parts))


def test_a_legacy_file_that_is_cut_off(tmp_path):
    data = torch_file(rebuilding(GOOD), legacy=True)
    for n_bytes in range(2, len(data), 5):
        refusal_of(tmp_path, data[:n_bytes])
    assert "ends 1 bytes after its end" in refusal_of(tmp_path, data[:-1])


@pytest.mark.parametrize("found", [-1, 5, 7, 1 << 62])
def test_a_legacy_storage_of_another_length(tmp_path, found):
    data = torch_file(rebuilding(GOOD), legacy=True)
    assert f"has two lengths, {found} and 6" in refusal_of(tmp_path, data[:-32] + struct.pack("<q", found) + bytes(24))


# --- other files


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is no file of torch.save"),
        (b"\x30\0\0\0\0\0\0\0{}", "is no file of torch.save"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (b"PK\x05\x06" + bytes(18), "is no file of torch.save"),
        (b"PK\x03\x04", "does not end in an end record"),
        (b"\x80", "its pickle ends early"),
        (b"(dp0\n.", "is no file of torch.save"),
    ],
)
def test_files_of_other_formats(tmp_path, data, says):
    assert says in refusal_of(tmp_path, data)


def test_a_folder_or_no_file_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "none.bin"):
        with pytest.raises(UserError, match="cannot read"):
            read_torch_file(path)


def test_limits_leave_room_for_large_models():
    view = view_of("F32", (2, 3), bytes(24))
    names = {f"model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight": view for layer in range(10)
             for expert in range(100)}  # fmt: skip
    tensors = {name: View(Storage("F32", bytes(24)), (2, 3)) for name in names}
    data_pkl = pickled(rebuilding(tensors))[0]
    assert 40 * len(data_pkl) < unpickler.MAX_BYTES
    import pickletools

    assert 40 * sum(1 for _ in pickletools.genops(data_pkl)) < unpickler.MAX_OPCODES
