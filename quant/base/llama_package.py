"""Which llama.cpp is installed, found without importing its binding."""

import ctypes
import importlib.util
import sys
from functools import cache
from pathlib import Path

from quant.base.errors import UserError

NOT_INSTALLED = "llama-cpp-python is not installed here; install slmprof again"


def package_folder() -> Path:
    """Return the binding's folder.

    Raises:
        UserError: llama-cpp-python is not installed.
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise UserError(NOT_INSTALLED)
    return Path(spec.origin).parent


def library_path(stem: str) -> Path:
    """Return where the binding keeps one of its shared libraries, like "ggml-base". Imports nothing.

    Raises:
        UserError: llama-cpp-python is not installed.
        OSError: its build has no such library.
    """
    folder = package_folder() / "lib"
    names = {"darwin": (f"lib{stem}.dylib",), "win32": (f"{stem}.dll", f"lib{stem}.dll")}
    for name in names.get(sys.platform, (f"lib{stem}.so",)):
        if (path := folder / name).exists():
            return path
    raise OSError(f"llama-cpp-python has no {stem} library")


@cache
def ggml_base() -> ctypes.CDLL:
    """Open ggml's base library without importing the binding, which would load everything.

    Raises:
        UserError: llama-cpp-python is not installed, or its build has no such library.
    """
    try:
        return ctypes.CDLL(str(library_path("ggml-base")))
    except OSError as error:
        raise UserError(
            "this build of llama-cpp-python has no ggml library of its own; install this program again"
        ) from error


@cache
def llama_build() -> str:
    """Name the build of llama.cpp: the binding's version and llama.cpp's commit.

    Read from the shared library: importing the binding takes longer than finding out that all work is done already.

    Raises:
        UserError: llama-cpp-python is not installed.
    """
    from importlib.metadata import version  # takes as long as all other imports of a worker

    base = ggml_base()
    base.ggml_commit.restype = ctypes.c_char_p
    return f"{version('llama-cpp-python')}+{base.ggml_commit().decode()}"
