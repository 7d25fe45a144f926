"""llama-bench as a program that takes turns, on the libraries of the installed package.

It calls `llama_memory_clear` before each repetition, untimed. A library of the test's, loaded before llama-bench's own,
brings one that also waits for the turn; and an `operator new[]` that places ggml's work buffer, which llama-bench
leaves to chance and repeats in every run (profiler/engine/memory_layout.py). Only with glibc.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import llama_cpp

from tests.parity.oracle import Oracle
from tests.parity.taking_turns import Program

OFFSET = "WORK_BUFFER_OFFSET"  # the variable that places the arrays of a process; without it nothing is moved
# Runs a command with more variables and prints its largest resident size. A small process: a child's begins with its
# parent's.
_PEAK = (
    "import json, os, resource, subprocess, sys; more = json.loads(sys.argv[1]); "
    "code = subprocess.call(sys.argv[2:], env={**os.environ, **more}); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
)
_COMPILER = os.environ.get("CXX") or "c++"
_SOURCE = """
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <new>
#include <unistd.h>

static const char *offset_asked() {
    static const char *text = std::getenv("WORK_BUFFER_OFFSET");
    return text;
}
void *operator new[](std::size_t n_bytes) {
    const bool moved = offset_asked();
    void *whole = std::malloc(n_bytes + (moved ? 128 : 0));
    if (!whole) throw std::bad_alloc();
    if (!moved) return whole;
    static const std::uintptr_t offset = std::strtoul(offset_asked(), nullptr, 10) % 64;
    std::uintptr_t line = (reinterpret_cast<std::uintptr_t>(whole) + 16 + 63) / 64 * 64;
    void **start = reinterpret_cast<void **>(line + offset);
    start[-1] = whole;
    return start;
}
void operator delete[](void *start) noexcept {
    if (start) std::free(offset_asked() ? static_cast<void **>(start)[-1] : start);
}
void operator delete[](void *start, std::size_t) noexcept { operator delete[](start); }

static int opened(int place) {
    char text[4096];
    std::strncpy(text, std::getenv("TURNS"), sizeof text - 1);
    text[sizeof text - 1] = 0;
    char *second = std::strchr(text, ':');
    *second++ = 0;
    return open(place ? second : text, O_RDWR);
}

extern "C" void llama_memory_clear(void *memory, bool data) {
    using Clear = void (*)(void *, bool);
    static const Clear clear = reinterpret_cast<Clear>(dlsym(RTLD_NEXT, "llama_memory_clear"));
    clear(memory, data);
    if (!std::getenv("TURNS")) return;
    static const int waiting = opened(0), called = opened(1);
    char byte = 1;
    if (write(waiting, &byte, 1) != 1 || read(called, &byte, 1) != 1) _exit(3);
}
"""


def bench_program(
    oracle: Oracle,
    path: Path,
    size: tuple[int, int],
    reps: int,
    settings: Sequence[str],
    variables: Mapping[str, str],
) -> Program:
    """Return llama-bench with a prompt or generated tokens (size: one is 0), its settings and variables."""
    tests = ["-p", str(size[0]), "-n", str(size[1]), "-r", str(reps), "-o", "json"]
    preloaded = {"LD_PRELOAD": str(_library(oracle.work / "speed"))}
    command = _command(oracle.llama_bench, ["-m", str(path), *tests, *settings], {**preloaded, **variables})
    return Program(command, _libraries(), n_untimed=1)


def bench_times_ns(written: str) -> list[float]:
    """Return the time of each repetition, from what it wrote."""
    (row,) = json.loads(written)
    return list(map(float, row["samples_ns"]))


def peak_of(errors: str) -> int:
    """Return the largest resident size of its process in bytes, from what it wrote to stderr."""
    return int(errors.split()[-1]) * (1 if sys.platform == "darwin" else 1024)


def peak_without_model(oracle: Oracle) -> int:
    """Return the largest resident size in bytes of a llama-bench that opens no model."""
    command = _command(oracle.llama_bench, ["--list-devices"], {})
    environment = {**os.environ, **_libraries()}
    return peak_of(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stderr)


def _command(binary: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _PEAK, json.dumps(variables), str(binary), *arguments]


def _libraries() -> dict[str, str]:
    libraries = str(Path(llama_cpp.__file__).parent / "lib")
    return {"LD_LIBRARY_PATH": libraries, "DYLD_LIBRARY_PATH": libraries}


def _library(folder: Path) -> Path:
    """Build the library in a folder, unless it is there.

    Raises:
        SystemExit: there is no glibc or no compiler.
    """
    if platform.libc_ver()[0] != "glibc" or shutil.which(_COMPILER) is None:
        raise SystemExit("parity: speed is compared on Linux with glibc and a C++ compiler")
    folder.mkdir(parents=True, exist_ok=True)
    source, library = folder / "turns.cpp", folder / "turns.so"
    if not library.exists() or source.read_text() != _SOURCE:
        source.write_text(_SOURCE)
        subprocess.run([_COMPILER, "-shared", "-fPIC", "-O1", source.name, "-o", library.name], cwd=folder, check=True)
    return library
