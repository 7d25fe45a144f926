"""ggml's own quantizers, called on rows of floats. Only a child process calls them: they may abort it.

Source: ggml_quantize_chunk and ggml_validate_row_data in ggml/include/ggml.h of the pinned llama.cpp.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.base.llama_package import ggml_base
from quant.gguf_io.types import TYPE_BY_NAME


@cache
def _library() -> ctypes.CDLL:
    library = ggml_base()
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_validate_row_data.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    library.ggml_validate_row_data.restype = ctypes.c_bool
    return library


def quantize_rows(
    values: NDArray[np.float32],
    row_length: int,
    type_name: str,
    importance: NDArray[np.float32] | None,
    name: str = "a tensor",
) -> NDArray[np.uint8]:
    """Quantize whole rows, and check that the result is valid, as llama_model_quantize does.

    Args:
        values: flat, contiguous.
        importance: mean squares of each column, `(row_length,)`.
        name: the tensor's, for messages.

    Raises:
        UserError: values led to invalid blocks: they are too large, or not finite.
    """
    kind = TYPE_BY_NAME[type_name]
    n_rows = values.size // row_length
    blocks = np.empty(kind.nbytes((row_length, n_rows)), dtype=np.uint8)
    library = _library()
    n_bytes = library.ggml_quantize_chunk(
        kind.number, values.ctypes.data, blocks.ctypes.data, 0, n_rows, row_length,
        None if importance is None else importance.ctypes.data,
    )  # fmt: skip
    assert n_bytes == blocks.nbytes
    if not library.ggml_validate_row_data(kind.number, blocks.ctypes.data, blocks.nbytes):
        raise UserError(
            f"{name} holds values that {type_name} cannot store, too large or not finite; choose BF16 or F32, "
            "or download the checkpoint again"
        )
    return blocks


def prepare(type_names: set[str]) -> None:
    """Let ggml build its tables for the types before threads use them."""
    library: Any = _library()
    for name in type_names:
        library.ggml_quantize_init(TYPE_BY_NAME[name].number)
