"""llama.cpp's own quantization, called as llama-quantize calls it."""

import ctypes
import os
from pathlib import Path

import llama_cpp
import numpy as np

from quant.gguf_io.levels import LEVEL_BY_NAME


def quantize_directly(source: Path, out: Path, level: str, imatrix: dict[str, np.ndarray] | None = None) -> None:
    """Do what llama-quantize does, with llama.cpp's own defaults."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = LEVEL_BY_NAME[level].ftype
    values = imatrix or {}
    entries = (llama_cpp.llama_model_imatrix_data * (len(values) + 1))()
    for entry, (name, data) in zip(entries, values.items(), strict=False):
        entry.name = name.encode()
        entry.data = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = data.size
    if imatrix:
        params.imatrix = ctypes.cast(entries, ctypes.POINTER(llama_cpp.llama_model_imatrix_data))
    assert llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(params)) == 0
