"""A GGUF file's unquantized weights looked through for NaN and infinity, which no level may inherit."""

import numpy as np

from quant.base.errors import UserError
from quant.gguf_io.floats import FILE_DTYPES, first_not_finite
from quant.gguf_io.header import GgufHeader, TensorInfo

_CHUNK_ELEMENTS = 4 << 20


def refuse_not_finite(header: GgufHeader) -> None:
    """Read a file's F32, F16 and BF16 tensors once.

    Raises:
        UserError: one holds NaN or an infinite value, or cannot be read.
    """
    for tensor in header.tensors:
        if tensor.type.name.upper() in FILE_DTYPES:
            _check(header, tensor)


def _check(header: GgufHeader, tensor: TensorInfo) -> None:
    kind = tensor.type.name.upper()
    path, dtype = header.paths[tensor.file], np.dtype(FILE_DTYPES[kind])
    for first in range(0, tensor.n_weights, _CHUNK_ELEMENTS):
        count = min(_CHUNK_ELEMENTS, tensor.n_weights - first)
        try:
            values = np.fromfile(path, dtype, count, offset=tensor.offset + first * dtype.itemsize)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
        if first_not_finite(values, kind) is not None:
            raise UserError(
                f"tensor {tensor.name} in {path} holds NaN or an infinite value, and llama.cpp would generate "
                "nonsense; convert or download it again"
            )
