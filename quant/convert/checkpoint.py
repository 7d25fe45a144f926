"""A Hugging Face checkpoint directory: its config, and its tensors, read in chunks from safetensors.

Headers are untrusted: they are bounded and checked against the file before anything else is read.
Source: the safetensors format (8 bytes little-endian header length, a JSON header, the tensors' bytes).
"""

import json
import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError

_MAX_HEADER_BYTES = 100 << 20  # the format's own limit
_MAX_CONFIG_BYTES = 16 << 20
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_LENGTH = struct.Struct("<Q")
# safetensors' name -> numpy's, of the types that are converted; bfloat16 is read as its bits.
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_ELEMENT_BYTES = {
    "F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor's place in a safetensors file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int  # bytes from the start of the file

    @property
    def n_elements(self) -> int:
        """The product of the shape."""
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.offset + _ELEMENT_BYTES[self.dtype] * self.n_elements

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Read `count` elements from `first`: float32, float16, or uint16 for bfloat16's bits.

        Read rather than mapped: mapped pages would count as this process's memory.

        Raises:
            UserError: the type is not one that is converted, or the file ended early.
        """
        if self.dtype not in _DTYPES:
            raise UserError(f"tensor {self.name} in {self.path.name} is {self.dtype}; F32, F16 and BF16 are converted")
        offset = self.offset + first * _ELEMENT_BYTES[self.dtype]
        try:
            found = np.fromfile(self.path, dtype=_DTYPES[self.dtype], count=count, offset=offset)
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror or error}; download it again") from error
        if len(found) != count:
            raise UserError(f"{self.path} ended while tensor {self.name} was read; download it again")
        return found


@dataclass(frozen=True)
class Checkpoint:
    """A directory's config and its tensors by name, in the order of the files."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        """The class that the config names. Raises UserError where it names none."""
        names = self.config.get("architectures")
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0]
        raise UserError(f"{self.folder / 'config.json'} names no architecture; is it a language model's?")

    @property
    def standin_for(self) -> str | None:
        """The model whose shape synthetic weights have; None for real weights."""
        name = self.config.get("slmprof_standin_for")
        return str(name) if self.config.get("slmprof_synthetic") else None

    @property
    def standin_family(self) -> str | None:
        """The family of that model, if this is its stand-in of another family; else None."""
        family = self.config.get("slmprof_standin_family")
        return str(family) if self.config.get("slmprof_synthetic") and family is not None else None


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read a directory's config and the headers of its safetensors files; no weights.

    Raises:
        UserError: something is missing, truncated, or points outside the directory.
    """
    config = read_config(folder)
    refuse_quantized(config, str(folder))
    return Checkpoint(folder=folder, config=config, tensors=_read_tensors(folder))


def refuse_quantized(config: dict[str, Any], name: str) -> None:
    """Refuse weights that another program quantized.

    Raises:
        UserError: the config has quantization settings.
    """
    for each in (config, config.get("text_config")):
        found = each.get("quantization_config") or each.get("quantization") if isinstance(each, dict) else None
        if found:
            method = found.get("quant_method", "MLX") if isinstance(found, dict) else found
            raise UserError(
                f"{name} is quantized already ({str(method)[:40]}); use the checkpoint that it was made from, "
                "or llama.cpp's own converter with --converter DIR"
            )


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Raises:
        UserError: it is missing, or no JSON object.
    """
    path = folder / "config.json"
    try:
        there = path.is_file()
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from error
    if not there:
        raise UserError(f"{folder} has no config.json, so it is no checkpoint; pass a checkpoint's directory")
    return read_object(path)


def read_object(path: Path, max_bytes: int = _MAX_CONFIG_BYTES) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        UserError: it cannot be read, is too large, or holds something else.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise UserError(f"{path} is larger than any such file known; is it the right one?")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({str(error)[:100]}); download it again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no JSON object; download it again")
    return data


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    expected: dict[str, str] | None = None
    if (folder / _INDEX).is_file():
        expected = _weight_map(folder)
        parts = sorted(set(expected.values()))
    elif (folder / _SINGLE).is_file():
        parts = [_SINGLE]
    else:
        parts = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
    if not parts:
        pickles = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        hint = (
            "it has only pickled weights, which can run code; use a repository with safetensors, or save the model "
            "again with transformers' save_pretrained"
            if pickles
            else "download model.safetensors too"
        )
        raise UserError(f"{folder} has no safetensors files; {hint}")
    for part in parts:
        path = folder / part
        if not path.is_file():
            raise UserError(f"{folder} lacks {part}, which its index names; download the checkpoint again")
        for tensor in _read_header(path):
            if tensor.name in tensors:
                raise UserError(f"tensor {tensor.name} is in two files of {folder}; download the checkpoint again")
            tensors[tensor.name] = tensor
    if expected is not None and (missing := set(expected) - set(tensors)):
        raise UserError(
            f"{folder} lacks {len(missing)} tensors that its index names, such as {min(missing)}; "
            "download the checkpoint again"
        )
    return tensors


def _weight_map(folder: Path) -> dict[str, str]:
    found = read_object(folder / _INDEX, _MAX_HEADER_BYTES).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise UserError(f"{folder / _INDEX} has no weight_map; download it again")
    for name, part in found.items():
        if not isinstance(part, str) or Path(part).name != part or not part.endswith(".safetensors"):
            raise UserError(f"{folder / _INDEX} puts {name} into {part!r}, which is no file in this directory")
    return found


def _read_header(path: Path) -> list[Tensor]:
    """Read and check one file's header.

    Raises:
        UserError: the header or a tensor is not within the file, or contradicts itself.
    """
    try:
        header, data_start, size = _header_object(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"the header of {path} is no JSON ({str(error)[:80]}); download it again") from error
    if not isinstance(header, dict):
        raise UserError(f"the header of {path} is no JSON object; download it again")
    header.pop("__metadata__", None)
    tensors = [_tensor(path, name, entry, data_start) for name, entry in header.items()]
    for tensor in tensors:
        if tensor.end > size:
            raise UserError(
                f"{path} is truncated: tensor {tensor.name} ends {tensor.end - size} bytes after its end; "
                "download it again"
            )
    for one, next_one in pairwise(sorted(tensors, key=lambda tensor: (tensor.offset, tensor.end))):
        if next_one.offset < one.end:
            raise UserError(f"tensors overlap in {path}; download it again")
    return tensors


def _header_object(path: Path) -> tuple[Any, int, int]:
    """Return a file's header, the offset of the tensors' data, and the file's size in bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH.size)
        if len(start) < _LENGTH.size:
            raise UserError(f"{path} is too short for a safetensors file; download it again")
        (length,) = _LENGTH.unpack(start)
        if length > size - _LENGTH.size:
            raise UserError(
                f"the header of {path} is longer than the file ({length} bytes of {size}); download it again"
            )
        if length > _MAX_HEADER_BYTES:
            raise UserError(
                f"the header of {path} is {length} bytes long, but the format allows {_MAX_HEADER_BYTES}; "
                "download it again"
            )
        return json.loads(file.read(length)), _LENGTH.size + length, size


class _Entry(msgspec.Struct, frozen=True):
    """A tensor in a header."""

    dtype: str
    shape: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)], ...], msgspec.Meta(max_length=8)]
    data_offsets: tuple[int, int]


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> Tensor:
    def broken(what: str) -> UserError:
        return UserError(f"the header of {path} is broken: tensor {name[:100]!r} {what}; download it again")

    try:
        found = msgspec.convert(entry, _Entry)
    except msgspec.ValidationError as error:
        raise broken(f"is invalid: {error}") from error
    if found.dtype not in _ELEMENT_BYTES:
        raise broken(f"has the unknown type {found.dtype[:20]}")
    begin, end = found.data_offsets
    tensor = Tensor(name=name, dtype=found.dtype, shape=found.shape, path=path, offset=data_start + begin)
    if begin < 0 or tensor.end != data_start + end:
        raise broken("has a size that does not match its shape")
    return tensor
