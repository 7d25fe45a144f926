"""Read an importance matrix as llama-imatrix writes it, or wrote it: the mean square of each input of a matrix.

Source of the layout: common/imatrix-loader.cpp and tools/quantize/quantize.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quant.base.errors import UserError
from quant.base.files import POINTER_BYTES, refuse_pointer
from quant.gguf_io.artifact import IMATRIX_KEY
from quant.gguf_io.header import MAGIC, GgufHeader, TensorInfo, open_gguf_header
from quant.gguf_io.imatrix_legacy import read_legacy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SUMS, _COUNTS = ".in_sum2", ".counts"
_REQUIRED = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")
_MAX_BYTES = 4 << 30
_VALUE_BYTES = 4


@dataclass(frozen=True)
class ImatrixEntry:
    """One tensor's values in the file."""

    n_values: int  # n_experts * row length
    offset: int  # of the sums of squares, float32; bytes from the start of the file
    n_experts: int = 1
    counts_offset: int | None = None  # of the number of rows of each expert, float32; None: `n_calls` holds for all
    n_calls: int = 0


@dataclass(frozen=True)
class ImatrixHeader:
    """The contents of a file without its values."""

    path: Path
    dataset: str | None
    n_chunks: int
    entries: dict[str, ImatrixEntry]  # by tensor name


def open_imatrix(path: Path) -> ImatrixHeader:
    """Read an importance matrix's header, in GGUF or in the older binary form.

    Raises:
        UserError: the file is no importance matrix, or its entries are damaged.
    """
    header = _open_gguf(path) if not path.is_file() or _starts_as_gguf(path) else _open_legacy(path)
    if not header.entries:
        raise UserError(f"{path} has no entries; make the importance matrix again")
    if sum(entry.n_values for entry in header.entries.values()) * _VALUE_BYTES > _MAX_BYTES:
        raise UserError(f"{path} is larger than any model's importance matrix; make it again")
    return header


def _starts_as_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(POINTER_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    refuse_pointer(path, start)
    return start.startswith(MAGIC)


def _open_legacy(path: Path) -> ImatrixHeader:
    try:
        found = read_legacy(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if found is None:
        raise UserError(f"{path} is not an importance matrix; pass one that llama-imatrix wrote")
    entries = {
        name: ImatrixEntry(entry.n_values, entry.offset, n_calls=entry.n_calls) for name, entry in found.entries.items()
    }
    return ImatrixHeader(path, found.dataset, found.n_chunks, entries)


def _open_gguf(path: Path) -> ImatrixHeader:
    header = open_gguf_header(path)
    if any(key not in header.metadata for key in _REQUIRED):
        raise UserError(f"{path} is not an importance matrix; pass one that llama-imatrix wrote")
    parts: dict[str, dict[str, TensorInfo]] = {}
    for tensor in header.tensors:
        for suffix in (_SUMS, _COUNTS):
            if tensor.name.endswith(suffix):
                parts.setdefault(tensor.name.removesuffix(suffix), {})[suffix] = tensor
    entries = {}
    for name, pair in parts.items():
        if len(pair) != 2 or any(tensor.type.name != "f32" for tensor in pair.values()):
            raise _damaged(path, name)
        sums, counts = pair[_SUMS], pair[_COUNTS]
        if sums.n_weights % counts.n_weights:
            raise _damaged(path, name)
        entries[name] = ImatrixEntry(sums.n_weights, sums.offset, counts.n_weights, counts.offset)
    return ImatrixHeader(path, _dataset(header), header.whole("imatrix.chunk_count") or 0, entries)


def read_imatrix(imatrix: ImatrixHeader) -> "dict[str, npt.NDArray[np.float32]]":
    """Return each tensor's mean squares, `(n_experts * row length,) float32`.

    The row of an expert that no token chose is ones, and so is one whose values are all zero: with zeros the
    quantizers would divide by zero.

    Raises:
        UserError: a value is not a number, infinite or negative.
    """
    return {name: means for name, means, _ in _means(imatrix)}


def zero_rows(imatrix: ImatrixHeader) -> dict[str, int]:
    """Return how many rows of each tensor are all zero though tokens were counted, where there are any.

    Raises:
        UserError: a value is not a number, infinite or negative.
    """
    return {name: n_zero for name, _, n_zero in _means(imatrix) if n_zero}


def _means(imatrix: ImatrixHeader) -> "Iterator[tuple[str, npt.NDArray[np.float32], int]]":
    """Yield each tensor's name, its mean squares, and how many of its rows were all zero."""
    import numpy as np

    for name, entry in imatrix.entries.items():
        squares = _values(imatrix.path, name, entry.offset, entry.n_values)
        if entry.counts_offset is None:
            # Of these sums llama.cpp takes those without a call as they are.
            counts = np.full(1, max(1, entry.n_calls), np.float32)
        else:
            # Counts are integers stored as float32; llama.cpp rounds them, halves upwards.
            counts = np.floor(_values(imatrix.path, name, entry.counts_offset, entry.n_experts) + np.float32(0.5))
        rows, per_expert = squares.reshape(entry.n_experts, -1), counts.reshape(-1, 1)
        is_zero = (per_expert[:, 0] > 0) & ~rows.any(axis=1)
        means = np.ones_like(rows)
        np.divide(rows, per_expert, out=means, where=(per_expert > 0) & ~is_zero[:, np.newaxis])
        yield name, means.reshape(-1), int(is_zero.sum())


def _values(path: Path, name: str, offset: int, count: int) -> "npt.NDArray[np.float32]":
    import numpy as np

    try:
        found = np.fromfile(path, "<f4", count, offset=offset)
    except OSError as error:
        raise _unreadable(path, error) from error
    if found.size != count or not np.isfinite(found).all() or found.min() < 0:
        raise _damaged(path, name)
    return found


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot read {path}: {error.strerror}; check its permissions")


def keys_of(imatrix: ImatrixHeader, sha256: str) -> dict[str, str | int]:
    """Return the keys about an importance matrix: llama-quantize's, without the file's folder, and its hash.

    Source: tools/quantize/quantize.cpp.
    """
    keys: dict[str, str | int] = {"quantize.imatrix.file": imatrix.path.name}
    if imatrix.dataset:
        keys["quantize.imatrix.dataset"] = Path(imatrix.dataset).name
    keys["quantize.imatrix.entries_count"] = len(imatrix.entries)
    if imatrix.n_chunks:
        keys["quantize.imatrix.chunks_count"] = imatrix.n_chunks
    return {**keys, IMATRIX_KEY: sha256}


def _dataset(header: GgufHeader) -> str | None:
    datasets = header.metadata["imatrix.datasets"]
    return datasets[0] if isinstance(datasets, tuple) and datasets and isinstance(datasets[0], str) else None


def _damaged(path: Path, name: str) -> UserError:
    return UserError(f"{path} has a damaged entry for {name}; make the importance matrix again")
