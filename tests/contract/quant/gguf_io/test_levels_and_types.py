"""Our tables against the installed llama.cpp."""

import ctypes
import re
from pathlib import Path

import llama_cpp
import pytest

from quant.base.llama_package import llama_build
from quant.gguf_io.levels import LEVELS
from quant.gguf_io.types import GGML_TYPES, TYPE_BY_NUMBER


@pytest.fixture(scope="module")
def base():
    library = ctypes.CDLL(str(next((Path(llama_cpp.__file__).parent / "lib").glob("*ggml-base.*"))))
    library.ggml_type_name.restype = ctypes.c_char_p
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_is_quantized.restype = ctypes.c_bool
    return library


def test_types_are_ggmls(base):
    for kind in GGML_TYPES:
        assert base.ggml_type_name(kind.number).decode() == kind.name
        assert base.ggml_blck_size(kind.number) == kind.block
        assert base.ggml_type_size(kind.number) == kind.block_bytes
        assert base.ggml_is_quantized(kind.number) == kind.is_quantized


def test_no_type_of_ggml_is_missing(base):
    known = {number for number in range(43) if base.ggml_blck_size(number) > 0}
    assert known == TYPE_BY_NUMBER.keys()


def test_levels_are_llama_cpps():
    for level in LEVELS:
        prefix = "LLAMA_FTYPE_ALL_" if level.name == "F32" else "LLAMA_FTYPE_MOSTLY_"
        assert getattr(llama_cpp, prefix + level.name) == level.ftype
        name = llama_cpp.llama_ftype_name(level.ftype).decode()
        assert _same_level(name, level.name), name
    assert len({level.ftype for level in LEVELS}) == len(LEVELS)
    constants = {getattr(llama_cpp, name) for name in dir(llama_cpp) if re.match(r"LLAMA_FTYPE_(ALL|MOSTLY)_", name)}
    assert constants <= {level.ftype for level in LEVELS}


def _same_level(shown: str, ours: str) -> bool:
    # "Q4_K - Medium" is Q4_K_M, "IQ3_S mix - 3.66 bpw" is IQ3_M, "all F32" is F32, "MXFP4 MoE" is MXFP4_MOE.
    if shown.startswith("IQ3_S mix"):
        return ours == "IQ3_M"
    size = {"Small": "_S", "Medium": "_M", "Large": "_L"}.get(shown.rpartition(" - ")[2], "")
    word = shown.removeprefix("all ").partition(" - ")[0].replace(" ", "_").upper()
    return ours in (word + size, word)


def test_the_build_is_named():
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{7,40}(-dirty)?", llama_build())
