"""Write an importance matrix in llama.cpp's own form, as llama-quantize and this program read it.

Source of the layout: IMatrixCollector::save_imatrix in tools/imatrix/imatrix.cpp of the pinned llama.cpp.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
from numpy.typing import NDArray

from quant.gguf_io.writer import Entry, Keys, compose_header, n_padding, serialize_keys


class InputSums(NamedTuple):
    """The sums of one matrix, or of the experts that share a tensor."""

    squares: NDArray[np.float64]  # (n_experts, row length); (1, n) for a dense matrix
    counts: NDArray[np.int64]  # (n_experts,): rows that were summed


def write_imatrix(
    path: Path, sums: Mapping[str, InputSums], *, dataset: str, n_chunks: int, n_tokens_per_chunk: int
) -> None:
    """Write the sums of all matrices, in the order of their names.

    Args:
        dataset: the name of the text, without its folder, since files are shared.
    """
    entries, arrays = [], []
    for name, (squares, counts) in sorted(sums.items(), key=lambda item: item[0].encode()):
        assert squares.shape[0] == counts.size
        for suffix, values in ((".in_sum2", squares), (".counts", counts.reshape(-1, 1))):
            entries.append(Entry(name + suffix, _dims(values), "f32"))
            arrays.append(np.ascontiguousarray(values, "<f4"))
    header = compose_header(_keys(dataset, n_chunks, n_tokens_per_chunk), entries, file_type=0, append_file_type=False)
    with path.open("wb") as file:
        file.write(header)
        for array in arrays:
            file.write(array.tobytes())
            file.write(b"\0" * n_padding(file.tell()))


def _dims(values: NDArray[np.generic]) -> tuple[int, ...]:
    """Return a GGUF shape: the row length first, without a trailing dimension of one."""
    n_rows, n_columns = values.shape
    return (n_columns, n_rows) if n_rows > 1 else (n_columns,)


def _keys(dataset: str, n_chunks: int, n_tokens_per_chunk: int) -> Keys:
    writer = gguf.GGUFWriter(None, "")
    writer.kv_data[0].clear()  # an importance matrix has no architecture
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", [dataset])
    writer.add_uint32("imatrix.chunk_count", n_chunks)
    writer.add_uint32("imatrix.chunk_size", n_tokens_per_chunk)
    return serialize_keys(writer)
