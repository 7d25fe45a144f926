"""What the installed llama.cpp is: its build, its backends, its devices. Read in a child process, kept on disk.

`python -m profiler.device.llama_build` is that process; the parent never loads llama.cpp.
"""

import ctypes
import hashlib
import importlib.metadata
import re

import msgspec

from profiler.device.os.system import machine_stamp
from profiler.records.environment import Device
from quant.base.child import run_child
from quant.base.errors import UserError
from quant.base.kept import KeptJson
from quant.base.llama_package import NOT_INSTALLED, package_folder
from quant.base.text import one_line
from quant.base.worker import serve

_KINDS = ("cpu", "gpu", "igpu", "accel")  # enum ggml_backend_dev_type, ggml-backend.h
_PROBE_TIMEOUT_S = 120
_REASON_CHARS = 200
_ASSERT_HANDLERS = (b"__assert_fail", b"__assert_rtn", b"_wassert")  # of glibc and musl, macOS, Windows


class BackendFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the environment that llama.cpp knows."""

    binding_version: str
    llama_commit: str
    threading: str  # "openmp" | "ggml"
    backends: tuple[str, ...]
    devices: tuple[Device, ...]  # a device's free memory changes, its size does not; the CPU's is the machine's
    cpu_features: tuple[str, ...]


class Probe(msgspec.Struct, frozen=True):
    """The request for the facts."""


def probe_backend() -> BackendFacts:
    """Return the facts, from disk while the libraries are the same.

    Raises:
        UserError: llama-cpp-python is missing or cannot be loaded.
    """
    return KeptJson(f"backend/{build_stamp()}.json", BackendFacts).read_or(_probe)


def _probe() -> BackendFacts:
    output, ending = run_child("profiler.device.llama_build", Probe(), timeout_s=_PROBE_TIMEOUT_S)
    if ending.timed_out:
        raise UserError(f"llama.cpp did not load within {_PROBE_TIMEOUT_S} s; reinstall llama-cpp-python")
    try:
        return msgspec.json.decode(output, type=BackendFacts)
    except msgspec.DecodeError as error:
        reason = one_line(ending.error_line, _REASON_CHARS) or ending.signal or "no reason given"
        raise UserError(f"llama.cpp cannot be loaded ({reason}); reinstall llama-cpp-python") from error


def build_stamp() -> str:
    """Hash the version, the libraries' sizes and times, and the machine: another build or board is another stamp.

    An SD card can move to another board with everything that is kept on it. Loads nothing.

    Raises:
        UserError: llama-cpp-python is missing.
    """
    folder = package_folder() / "lib"
    try:
        version = importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(NOT_INSTALLED) from error
    digest = hashlib.sha256(f"{version}:{machine_stamp()}".encode())
    for path in sorted(folder.glob("*")):
        facts = path.stat()
        digest.update(f"{path.name}:{facts.st_size}:{facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def parse_system_info(text: str) -> tuple[tuple[str, ...], str]:
    """Return the CPU's features that are on, and the threading library, from llama.cpp's system info line.

    Every backend has a part of its own: "Metal : EMBED_LIBRARY = 1 | CPU : NEON = 1 | DOTPROD = 1 | ".
    """
    on, backend = [], "CPU"
    for part in text.split("|"):
        head, colon, rest = part.rpartition(" : ")
        backend = head.strip() if colon else backend
        if backend == "CPU" and (match := re.fullmatch(r"\s*(\w+) = 1\s*", rest)):
            on.append(match[1])
    threading = "openmp" if "OPENMP" in on else "ggml"
    return tuple(name for name in on if name != "OPENMP"), threading


def has_assertions() -> bool | None:
    """Return whether ggml's CPU code was compiled with its assertions, as a debug build is; None where unknown.

    Such code calls the C library's handler of failed assertions, so the library names it. Loads nothing.
    """
    for path in sorted((package_folder() / "lib").glob("*ggml-cpu.*")):
        code = path.read_bytes()
        return any(name in code for name in _ASSERT_HANDLERS)
    return None


def _read_facts() -> BackendFacts:
    from profiler.engine.ggml import devices, library
    from quant.base.llama_bindings import llama_cpp

    # Backends log on stderr which devices they found; that is no error.
    quiet = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p())
    llama_cpp.llama_backend_init()
    described = tuple(_described(device) for device in devices())
    features, threading = parse_system_info(llama_cpp.llama_print_system_info().decode(errors="replace"))
    return BackendFacts(
        binding_version=importlib.metadata.version("llama-cpp-python"),
        llama_commit=library("ggml-base").ggml_commit().decode(errors="replace"),
        threading=threading,
        backends=tuple(dict.fromkeys(device.name for device in described)),
        devices=described,
        cpu_features=features,
    )


def _described(device: int) -> Device:
    from profiler.engine.ggml import device_name, library

    base = library("ggml-base")
    kind = base.ggml_backend_dev_type(device)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return Device(
        name=device_name(device),
        description=base.ggml_backend_dev_description(device).decode(errors="replace").strip(),
        kind=_KINDS[kind] if 0 <= kind < len(_KINDS) else "other",
        memory_bytes=total.value or None,
    )


if __name__ == "__main__":
    serve(Probe, lambda _probe: _read_facts())
