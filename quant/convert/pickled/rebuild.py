"""The names that a pickle of weights may hold, and what each stands for: records of where tensors are, no tensors.

Everything else is refused by its name. No name is looked up in any module.
Source: torch/_utils.py (_rebuild_tensor_v2, _rebuild_tensor_v3, _rebuild_parameter) and torch/storage.py
(_new_dtypes) of torch 2.13; the types are written by their names in safetensors.
"""

from collections.abc import Callable
from typing import Any

import msgspec

_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL", "ComplexFloatStorage": "C64",
}  # fmt: skip
# Types that are younger than the format: their storages are bytes.
_DTYPES = {
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0", "uint16": "U16", "uint32": "U32", "uint64": "U64",
}  # fmt: skip
UNTYPED = "bytes"
_MOST = 1 << 48  # elements; no disk has more
_MAX_DIMS = 8  # as many as in safetensors


class WrongError(Exception):
    """What is wrong with a record, without the file's name."""


class StorageType(msgspec.Struct, frozen=True):
    """A class of storages."""

    dtype: str  # or UNTYPED


class Dtype(msgspec.Struct, frozen=True):
    """A type of elements."""

    name: str


class Storage(msgspec.Struct, frozen=True):
    """A run of elements in the file."""

    dtype: str
    key: str
    n_elements: int


class Rebuilt(msgspec.Struct, frozen=True):
    """A tensor: a part of a storage."""

    storage: Storage
    dtype: str
    first: int  # element of the storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Ordered(dict[str, Any]):
    """What an OrderedDict becomes."""

    __slots__ = ()


class Function(msgspec.Struct, frozen=True):
    """What may be called: makes a record of the arguments."""

    apply: Callable[[tuple[Any, ...]], Any]


def storage_of(found: Any) -> Storage:
    """Return the storage that a persistent id stands for.

    Raises:
        WrongError: it is of another form.
    """
    if type(found) is not tuple:
        raise WrongError("a persistent id is of no storage")
    match found:
        case ("storage", StorageType(dtype), str(key), str(), int(n)) if _is_count(n):
            return Storage(dtype, key, n)
        case ("storage", StorageType(dtype), str(key), str(), int(n), None) if _is_count(n):
            return Storage(dtype, key, n)
    raise WrongError("a persistent id is of no storage")


def _ordered(arguments: tuple[Any, ...]) -> Ordered:
    if arguments:
        raise WrongError("an OrderedDict is made of arguments")
    return Ordered()


def _tensor(arguments: tuple[Any, ...]) -> Rebuilt:
    """Make a tensor of storage, first element, shape, strides, requires_grad, hooks, and perhaps metadata."""
    match arguments:
        case (Storage() as storage, int(first), tuple(shape), tuple(strides), _, _, *rest) if not any(rest):
            if storage.dtype != UNTYPED and len(rest) <= 1:
                return _checked(Rebuilt(storage, storage.dtype, first, shape, strides))
    raise WrongError("a tensor has unknown arguments")


def _tensor_with_dtype(arguments: tuple[Any, ...]) -> Rebuilt:
    """Make a tensor of the same arguments, with its type before the metadata."""
    match arguments:
        case (Storage() as storage, int(first), tuple(shape), tuple(strides), _, _, Dtype(dtype), *rest):
            if storage.dtype == UNTYPED and len(rest) <= 1 and not any(rest):
                return _checked(Rebuilt(storage, dtype, first, shape, strides))
    raise WrongError("a tensor has unknown arguments")


def _checked(tensor: Rebuilt) -> Rebuilt:
    counts = (tensor.first, *tensor.shape, *tensor.strides)
    if not all(_is_count(each) for each in counts):
        raise WrongError("a tensor's shape or strides are no counts")
    if len(tensor.shape) != len(tensor.strides) or len(tensor.shape) > _MAX_DIMS:
        raise WrongError(f"a tensor has {len(tensor.shape)} dimensions and {len(tensor.strides)} strides")
    return tensor


def _parameter(arguments: tuple[Any, ...]) -> Rebuilt:
    match arguments:
        case (Rebuilt() as tensor, _, _):
            return tensor
    raise WrongError("a parameter has unknown arguments")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


ALLOWED: dict[tuple[str, str], Function | StorageType | Dtype] = {
    ("collections", "OrderedDict"): Function(_ordered),
    ("torch._utils", "_rebuild_tensor_v2"): Function(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): Function(_tensor_with_dtype),
    ("torch._utils", "_rebuild_parameter"): Function(_parameter),
    ("torch.storage", "UntypedStorage"): StorageType(UNTYPED),
    **{("torch", name): StorageType(dtype) for name, dtype in _STORAGES.items()},
    **{("torch", name): Dtype(dtype) for name, dtype in _DTYPES.items()},
}
