"""What the installed llama.cpp is: its build, its backends, its devices. Asked in a process, kept on disk.

Run as `python -m profiler.device.llama_build` it prints the facts; the parent never loads llama.cpp.
"""

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from profiler.device.os.system import machine_stamp
from profiler.records.record import Device
from quant.base.errors import UserError
from quant.base.files import cache_dir, write_text

_KINDS = ("cpu", "gpu", "igpu", "accel")  # enum ggml_backend_dev_type, ggml-backend.h
_PROBE_TIMEOUT_S = 120
_ASSERT_HANDLERS = (b"__assert_fail", b"__assert_rtn", b"_wassert")  # of glibc and musl, macOS, Windows


class BackendFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the environment that llama.cpp knows."""

    binding_version: str
    llama_commit: str
    threading: str  # "openmp" | "ggml"
    backends: tuple[str, ...]
    devices: tuple[Device, ...]
    cpu_features: tuple[str, ...]


def probe_backend() -> BackendFacts:
    """Give the facts, from disk while the libraries are the same.

    Raises:
        UserError: llama-cpp-python is missing or cannot be loaded.
    """
    kept = cache_dir() / "backend" / f"{build_stamp()}.json"
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(kept.read_bytes(), type=BackendFacts)
    from quant.base.child import child_environment

    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "profiler.device.llama_build"],
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            env=child_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"llama.cpp said nothing about itself within {_PROBE_TIMEOUT_S} s; reinstall llama-cpp-python"
        ) from error
    try:
        facts = msgspec.json.decode(done.stdout, type=BackendFacts)
    except msgspec.DecodeError as error:
        words = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"llama.cpp cannot be loaded ({words[:200]}); reinstall llama-cpp-python") from error
    write_text(kept, msgspec.json.encode(facts).decode())
    return facts


def build_stamp() -> str:
    """Hash the version, the libraries' sizes and times, and the machine: another build or board is another stamp.

    A memory card can move to another board with everything that is kept on it. Loads nothing.
    """
    spec = importlib.util.find_spec("llama_cpp")
    try:
        version = importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        spec, version = None, ""
    if spec is None or spec.origin is None:
        raise UserError("llama-cpp-python is not installed here; install slmprof again")
    digest = hashlib.sha256(f"{version}:{machine_stamp()}".encode())
    for path in sorted((Path(spec.origin).parent / "lib").glob("*")):
        facts = path.stat()
        digest.update(f"{path.name}:{facts.st_size}:{facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def parse_system_info(text: str) -> tuple[tuple[str, ...], str]:
    """Give the CPU's features that are on, and the threading library, from llama.cpp's system info line.

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
    """Tell whether ggml's CPU code was compiled with its assertions, as a debug build is; None where that is unclear.

    Such code calls the C library's handler of failed assertions, so the library names it. Loads nothing.
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        return None
    for path in sorted((Path(spec.origin).parent / "lib").glob("*ggml-cpu.*")):
        code = path.read_bytes()
        return any(name in code for name in _ASSERT_HANDLERS)
    return None


def _ask() -> BackendFacts:
    import llama_cpp

    from profiler.engine.ggml import devices, library

    # Devices log how they were found; nobody reads that here.
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
    sys.stdout.buffer.write(msgspec.json.encode(_ask()))
