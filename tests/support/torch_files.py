"""Files of torch.save in both formats, written without torch; `Named` stands for what a pickle names.

The pickler is Python's own, so that opcodes, memo and attributes are as torch writes them; tests/parity compares files
that torch itself wrote.
"""

import io
import json
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from quant.convert.safetensors_file import read_header

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "F64": "DoubleStorage", "F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage",
    "I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage", "I8": "CharStorage", "U8": "ByteStorage",
    "BOOL": "BoolStorage", "C64": "ComplexFloatStorage",
}  # fmt: skip
DTYPES = {
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu", "U16": "uint16", "U32": "uint32", "U64": "uint64",
}  # fmt: skip
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


class Named(NamedTuple):
    """A module's function or class, which need not exist."""

    module: str
    name: str

    def __call__(self) -> None:
        """Be callable, as pickle asks of what it reduces to."""


_KEPT: dict[Named, Named] = {}


class Called:
    """A pickled call."""

    def __init__(self, function: Named, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.reduced


class Storage:
    """Bytes that tensors share."""

    def __init__(self, dtype: str, data: bytes) -> None:
        self.dtype, self.data = dtype, data

    @property
    def size(self) -> int:
        """The number of elements, or of bytes where the type is a younger one."""
        return len(self.data) if self.dtype in DTYPES else len(self.data) // _BYTES.get(self.dtype, 1)


class View(NamedTuple):
    """A tensor as a part of a storage; no strides: its elements are in a row."""

    storage: Storage
    shape: tuple[int, ...]
    first: int = 0
    strides: tuple[int, ...] | None = None
    is_parameter: bool = False


def view_of(dtype: str, shape: tuple[int, ...], data: bytes, **changes: Any) -> View:
    """Return a tensor with a storage of its own."""
    return View(Storage(dtype, data), shape, **changes)


class StateDict(OrderedDict[str, Any]):
    """What a module's state_dict is: pickled as an OrderedDict with attributes."""

    def __init__(self, items: Any = ()) -> None:
        super().__init__(items)
        self._metadata = OrderedDict({"": {"version": 1}})

    def __reduce__(self) -> Any:
        return Named("collections", "OrderedDict"), (), {"_metadata": self._metadata}, None, iter(self.items())


def call_of(view: View) -> Called:
    """Return the call that rebuilds a tensor."""
    strides = view.strides
    if strides is None:
        strides = tuple(int(np.prod(view.shape[axis + 1 :], dtype=np.int64)) for axis in range(len(view.shape)))
    arguments = (view.storage, view.first, view.shape, strides, False, OrderedDict())
    if view.storage.dtype in DTYPES:
        dtype = Named("torch", DTYPES[view.storage.dtype])
        made = Called(Named("torch._utils", "_rebuild_tensor_v3"), *arguments, dtype)
    else:
        made = Called(Named("torch._utils", "_rebuild_tensor_v2"), *arguments)
    if view.is_parameter:
        return Called(Named("torch._utils", "_rebuild_parameter"), made, True, OrderedDict())
    return made


class Pickler(pickle._Pickler):  # type: ignore[misc,name-defined]
    """Python's pickler, for values that name what is not there."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, file: Any, protocol: int, *, legacy: bool = False) -> None:
        super().__init__(file, protocol)
        self.storages: dict[str, Storage] = {}
        self._legacy = legacy

    def persistent_id(self, value: Any) -> Any:
        """Return what stands for a storage."""
        if not isinstance(value, Storage):
            return None
        key = next((key for key, found in self.storages.items() if found is value), None)
        if key is None:
            key = str(len(self.storages)) if not self._legacy else str(94043694958224 + 176 * len(self.storages))
            self.storages[key] = value
        untyped = Named("torch.storage", "UntypedStorage")
        kind = untyped if value.dtype in DTYPES else Named("torch", STORAGES[value.dtype])
        return ("storage", kind, key, "cpu", value.size, *([None] if self._legacy else []))

    def save_named(self, value: Named) -> None:
        """Write a name as it would be written of an object that exists."""
        value = _KEPT.setdefault(value, value)  # one object each, as in a program
        if id(value) in self.memo:
            self.write(self.get(self.memo[id(value)][0]))
            return
        if self.proto >= 4:
            self.save(value.module)
            self.save(value.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(f"c{value.module}\n{value.name}\n".encode())
        self.memoize(value)

    dispatch[Named] = save_named
    dispatch[OrderedDict] = lambda self, value: self.save_reduce(
        Named("collections", "OrderedDict"), (), None, None, iter(value.items()), obj=value
    )


def pickled(value: Any, protocol: int = 2, *, legacy: bool = False) -> tuple[bytes, dict[str, Storage]]:
    """Return a pickle, and the storages that it names."""
    file = io.BytesIO()
    pickler = Pickler(file, protocol, legacy=legacy)
    pickler.dump(value)
    return file.getvalue(), pickler.storages


def rebuilding(tensors: Mapping[str, View], kind: type = dict) -> Any:
    """Return a dict to pickle."""
    made = {id(view): call_of(view) for view in tensors.values()}
    return kind({name: made[id(view)] for name, view in tensors.items()})


def zip_file(data_pkl: bytes, storages: Mapping[str, bytes], *, folder: str = "archive", zip64: bool = False) -> bytes:
    """Put the zip format together; with `zip64` sizes and offsets are in fields of that, as in large files."""
    members = {f"{folder}/data.pkl": data_pkl, f"{folder}/byteorder": b"little"}
    members |= {f"{folder}/data/{key}": data for key, data in storages.items()}
    return zip_of(members | {f"{folder}/version": b"3\n"}, zip64=zip64)


def zip_of(members: Mapping[str, bytes], *, zip64: bool = False, method: int = 0, flags: int = 0x808) -> bytes:
    """Write a zip file as torch does: sizes in the directory alone, each member's bytes at a multiple of 64."""
    made, directory = bytearray(), bytearray()
    for name, data in members.items():
        at, text = len(made), name.encode()
        pad = -(at + 30 + len(text) + 4) % 64
        made += struct.pack("<4s5H3I2H", b"PK\3\4", 0, flags, method, 0, 0, 0, 0, 0, len(text), pad + 4) + text
        made += struct.pack("<2sH", b"FB", pad) + b"Z" * pad + data
        sizes = (0xFFFFFFFF,) * 3 if zip64 else (len(data), len(data), at)
        extra = struct.pack("<2H3Q", 1, 24, len(data), len(data), at) if zip64 else b""
        directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", 0, 0, flags, method, 0, 0, 0, *sizes[:2], len(text),
                                 len(extra), 0, 0, 0, 0, sizes[2]) + text + extra  # fmt: skip
    at, n, size = len(made), len(members), len(directory)
    end_64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 0, 45, 0, 0, n, n, size, at)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at + size, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, n, n, size, at, 0)
    return bytes(made + directory) + end_64 + locator + end


def legacy_file(data_pkl: bytes, storages: Mapping[str, Storage]) -> bytes:
    """Put the format before torch 1.6 together."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickled(each)[0] for each in (MAGIC, 1001, system)]
    parts += [data_pkl, pickled(list(storages))[0]]
    for storage in storages.values():
        parts += [struct.pack("<q", storage.size), storage.data]
    return b"".join(parts)


def torch_file(value: Any, *, legacy: bool = False, protocol: int = 2, zip64: bool = False) -> bytes:
    """Return what torch.save writes for a value."""
    data_pkl, storages = pickled(value, protocol, legacy=legacy)
    if legacy:
        return legacy_file(data_pkl, storages)
    return zip_file(data_pkl, {key: storage.data for key, storage in storages.items()}, zip64=zip64)


def as_pickled(checkpoint: Path, *, legacy: bool = False) -> Path:
    """Replace a checkpoint's safetensors by files of torch.save with the same tensors; return the folder."""
    for path in sorted(checkpoint.glob("*.safetensors")):
        tensors = {}
        for tensor in read_header(path):
            with path.open("rb") as file:
                file.seek(tensor.offset)
                tensors[tensor.name] = view_of(tensor.dtype, tensor.shape, file.read(tensor.end - tensor.offset))
        path.with_name(_pickled_name(path.name)).write_bytes(torch_file(rebuilding(tensors, StateDict), legacy=legacy))
        path.unlink()
    index = checkpoint / "model.safetensors.index.json"
    if index.exists():
        found = json.loads(index.read_text())
        found["weight_map"] = {name: _pickled_name(part) for name, part in found["weight_map"].items()}
        (checkpoint / "pytorch_model.bin.index.json").write_text(json.dumps(found))
        index.unlink()
    return checkpoint


def _pickled_name(name: str) -> str:
    return name.replace("model", "pytorch_model", 1).replace(".safetensors", ".bin")
