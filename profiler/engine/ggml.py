"""The few functions of libggml and libllama that llama-cpp-python does not declare, by ctypes.

Source: ggml/include/ggml.h, ggml-cpu.h, ggml-backend.h and include/llama.h of the pinned llama.cpp.
"""

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

GGML_MAX_N_THREADS = 512  # ggml.h


class ThreadpoolParams(ctypes.Structure):
    """`struct ggml_threadpool_params`."""

    _fields_ = (
        ("cpumask", ctypes.c_bool * GGML_MAX_N_THREADS),
        ("n_threads", ctypes.c_int),
        ("prio", ctypes.c_int),
        ("poll", ctypes.c_uint32),
        ("strict_cpu", ctypes.c_bool),
        ("paused", ctypes.c_bool),
    )


@cache
def library(stem: str) -> ctypes.CDLL:
    """Open one of the shared libraries that came with llama-cpp-python: "ggml-cpu", "ggml", "ggml-base", "llama".

    Raises:
        OSError: the build has no such library.
    """
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    names = {"darwin": (f"lib{stem}.dylib",), "win32": (f"{stem}.dll", f"lib{stem}.dll")}
    for name in names.get(sys.platform, (f"lib{stem}.so",)):
        if (folder / name).exists():
            return ctypes.CDLL(str(folder / name))
    raise OSError(f"llama-cpp-python has no {stem} library")


class Threadpool:
    """A ggml thread pool with ggml's default priority and polling, as llama-bench makes it."""

    def __init__(self, n_threads: int, cores: Sequence[int] | None, *, paused: bool = False) -> None:
        base, cpu = library("ggml-base"), library("ggml-cpu")
        base.ggml_threadpool_params_init.argtypes = [ctypes.POINTER(ThreadpoolParams), ctypes.c_int]
        base.ggml_threadpool_params_init.restype = None
        cpu.ggml_threadpool_new.argtypes = [ctypes.POINTER(ThreadpoolParams)]
        cpu.ggml_threadpool_new.restype = ctypes.c_void_p
        cpu.ggml_threadpool_free.argtypes = [ctypes.c_void_p]
        cpu.ggml_threadpool_free.restype = None
        params = ThreadpoolParams()
        base.ggml_threadpool_params_init(ctypes.byref(params), n_threads)
        for core in cores or ():
            params.cpumask[core] = True
        params.paused = paused
        self.pointer: int | None = cpu.ggml_threadpool_new(ctypes.byref(params))
        if not self.pointer:
            raise OSError(f"ggml made no thread pool of {n_threads} threads")

    def free(self) -> None:
        """Stop the pool's threads."""
        if self.pointer:
            library("ggml-cpu").ggml_threadpool_free(self.pointer)
            self.pointer = None


def attach_threadpools(context: int, decode: Threadpool, prefill: Threadpool | None) -> None:
    """Let a llama context run on these pools; without one for prefill, both phases share the first."""
    llama = library("llama")
    llama.llama_attach_threadpool.argtypes = [ctypes.c_void_p] * 3
    llama.llama_attach_threadpool.restype = None
    llama.llama_attach_threadpool(context, decode.pointer, prefill.pointer if prefill else None)
