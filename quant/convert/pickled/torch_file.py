"""One file of torch.save: its pickle, which is untrusted, and its tensors, read in chunks as those of safetensors.

Both formats are read: the zip file of torch 1.6 and later, and the one before it, where pickles and then the storages
follow each other. Neither torch nor Python's unpickler is used.
Source: _save, _legacy_save and _legacy_load in torch/serialization.py, and THPStorage_readFileRaw in
torch/csrc/serialization.cpp, of torch 2.13.
"""

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

from quant.base.errors import UserError
from quant.base.files import POINTER_BYTES, refuse_pointer
from quant.convert.pickled.archive import MAGIC, Place, read_members
from quant.convert.pickled.errors import Refusals
from quant.convert.pickled.rebuild import UNTYPED, Rebuilt, Storage
from quant.convert.pickled.strided import StridedTensor, bytes_of, is_contiguous
from quant.convert.pickled.unpickler import MAX_BYTES, Unpickler
from quant.convert.safetensors_file import Tensor

_PICKLE = b"\x80"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_NAME_CHARS = 100


def read_torch_file(path: Path) -> list[Tensor]:
    """Read and check the pickle of a file of torch.save; no weights.

    Raises:
        UserError: it names what no weights need, is of another format, or contradicts itself.
    """
    refuse = Refusals(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(POINTER_BYTES)
            refuse_pointer(path, start)
            file.seek(0)
            if start.startswith(MAGIC):
                state, places = _read_zip(file, size, path)
            elif start.startswith(_PICKLE):
                state, places = _read_legacy(file, size, path)
            else:
                raise refuse.unreadable("is no file of torch.save")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not isinstance(state, dict):
        raise refuse.unreadable("holds no dict of tensors")
    return [_tensor(path, name, found, places) for name, found in state.items()]


def _read_zip(file: BinaryIO, size: int, path: Path) -> tuple[Any, dict[str, Place]]:
    refuse = Refusals(path)
    members = read_members(file, size, path)
    # torch takes the folder of the first member for that of all.
    folder = next(iter(members), "").partition("/")[0] + "/"
    pickled = members.get(f"{folder}data.pkl")
    if pickled is None:
        raise refuse.unreadable("is a zip file, but none of torch.save: it has no data.pkl")
    if f"{folder}constants.pkl" in members:
        raise refuse.unreadable("holds a program of TorchScript rather than weights")
    order = _member(file, members.get(f"{folder}byteorder"), 8)
    if order not in (b"", b"little"):
        raise refuse.unreadable("was written on a machine of the other byte order")
    if pickled.n_bytes > MAX_BYTES:
        raise refuse.hostile(f"has a pickle of more than {MAX_BYTES >> 20} MiB")
    state = Unpickler(io.BytesIO(_member(file, pickled, MAX_BYTES)), path).load()
    start = f"{folder}data/"
    return state, {name.removeprefix(start): place for name, place in members.items() if name.startswith(start)}


def _member(file: BinaryIO, place: Place | None, most: int) -> bytes:
    if place is None:
        return b""
    file.seek(place.offset)
    return file.read(min(place.n_bytes, most))


def _read_legacy(file: BinaryIO, size: int, path: Path) -> tuple[Any, dict[str, Place]]:
    refuse = Refusals(path)
    unpickler = Unpickler(file, path)
    if unpickler.load() != _LEGACY_MAGIC or unpickler.load() != _LEGACY_PROTOCOL:
        raise refuse.unreadable("is a pickle, but none of torch.save")
    system = unpickler.load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise refuse.unreadable("was written on a machine of the other byte order")
    state = unpickler.load()
    keys = unpickler.load()
    if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) != len(keys):
        raise refuse.broken("its list of storages is no list of names")
    places: dict[str, Place] = {}
    for key in keys:
        storage = unpickler.storages.get(key)
        if storage is None:
            raise refuse.broken(f"storage {key[:_NAME_CHARS]} belongs to no tensor")
        found = int.from_bytes(file.read(8), "little", signed=True)
        if found != storage.n_elements:
            raise refuse.broken(f"storage {key[:_NAME_CHARS]} has two lengths, {found} and {storage.n_elements}")
        place = Place(file.tell(), _storage_bytes(storage))
        if sum(place) > size:
            raise refuse.broken(f"storage {key[:_NAME_CHARS]} ends {sum(place) - size} bytes after its end")
        places[key] = place
        file.seek(sum(place))
    return state, places


def _storage_bytes(storage: Storage) -> int:
    return storage.n_elements if storage.dtype == UNTYPED else bytes_of(storage.dtype, storage.n_elements)


def _tensor(path: Path, name: str, found: Any, places: dict[str, Place]) -> Tensor:
    """Return where a tensor's elements are, all of them within its storage, and that within the file."""
    refuse = Refusals(path)
    if not isinstance(found, Rebuilt):
        raise refuse.unreadable(f"holds {name[:_NAME_CHARS]!r}, which is no tensor")
    place = places.get(found.storage.key)
    if place is None or place.n_bytes < _storage_bytes(found.storage):
        lack = "is missing" if place is None else "is cut off"
        raise refuse.broken(f"the storage of tensor {name[:_NAME_CHARS]} {lack}")
    is_empty = 0 in found.shape
    steps = sum((n - 1) * stride for n, stride in zip(found.shape, found.strides, strict=True))
    end = found.first if is_empty else found.first + steps + 1
    if bytes_of(found.dtype, end) > _storage_bytes(found.storage):
        raise refuse.broken(f"tensor {name[:_NAME_CHARS]} is not within its storage")
    offset = place.offset + bytes_of(found.dtype, found.first)
    if is_contiguous(found.shape, found.strides) or is_empty:
        return Tensor(name, found.dtype, found.shape, path, offset)
    return StridedTensor(name, found.dtype, found.shape, path, offset, strides=found.strides)
