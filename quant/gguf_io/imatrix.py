"""Read an importance matrix as llama-imatrix writes it: the mean square of each input of a matrix on a text.

Source of the layout: common/imatrix-loader.cpp and tools/quantize/quantize.cpp of the pinned llama.cpp.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quant.base.errors import UserError
from quant.gguf_io.artifact import IMATRIX_KEY
from quant.gguf_io.header import GgufHeader, TensorInfo, open_gguf_header

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SUMS, _COUNTS = ".in_sum2", ".counts"
_REQUIRED = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")
_MAX_BYTES = 4 << 30


@dataclass(frozen=True)
class ImatrixHeader:
    """The contents of a file without its values."""

    path: Path
    dataset: str | None
    n_chunks: int
    entries: dict[str, tuple[TensorInfo, TensorInfo]]  # tensor name -> sums of squares, counts


def open_imatrix(path: Path) -> ImatrixHeader:
    """Read an importance matrix's header.

    Raises:
        UserError: the file is no importance matrix in GGUF form, or its entries are damaged.
    """
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
        entries[name] = (sums, counts)
    if not entries:
        raise UserError(f"{path} has no entries; make the importance matrix again")
    if sum(sums.nbytes for sums, _ in entries.values()) > _MAX_BYTES:
        raise UserError(f"{path} is larger than any model's importance matrix; make it again")
    return ImatrixHeader(path, _dataset(header), header.whole("imatrix.chunk_count") or 0, entries)


def read_imatrix(imatrix: ImatrixHeader) -> "dict[str, npt.NDArray[np.float32]]":
    """Return each tensor's mean squares, `(n_experts * row length,) float32`; ones for an expert that no token chose.

    Raises:
        UserError: a value is not a number, infinite or negative.
    """
    import numpy as np

    values = {}
    for name, (sums, counts) in imatrix.entries.items():
        try:
            squares = np.fromfile(imatrix.path, "<f4", sums.n_weights, offset=sums.offset)
            numbers = np.fromfile(imatrix.path, "<f4", counts.n_weights, offset=counts.offset)
        except OSError as error:
            raise UserError(f"cannot read {imatrix.path}: {error.strerror}; check its permissions") from error
        if squares.size != sums.n_weights or numbers.size != counts.n_weights:
            raise _damaged(imatrix.path, name)
        if not (np.isfinite(squares).all() and np.isfinite(numbers).all() and min(squares.min(), numbers.min()) >= 0):
            raise _damaged(imatrix.path, name)
        # Counts are integers stored as float32; llama.cpp rounds them, halves upwards.
        per_expert = np.floor(numbers.reshape(-1, 1) + np.float32(0.5))
        rows = squares.reshape(numbers.size, -1)
        means = np.ones_like(rows)
        np.divide(rows, per_expert, out=means, where=per_expert > 0)
        values[name] = means.reshape(-1)
    return values


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
