"""Where llama-bench's work buffer starts: an `operator new[]` of the test's, loaded before llama-bench's own.

llama-bench leaves it to chance, and repeats its chance in every run (profiler/engine/memory_layout.py). With the
library every array of a process starts at the offset that a variable names. Only with glibc, as in our worker.
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path

_COMPILER = os.environ.get("CXX") or "c++"
_OFFSET = "WORK_BUFFER_OFFSET"
_SOURCE = """
#include <cstdint>
#include <cstdlib>
#include <new>

void *operator new[](std::size_t n_bytes) {
    static const char *text = std::getenv("WORK_BUFFER_OFFSET");
    static const std::uintptr_t offset = text ? std::strtoul(text, nullptr, 10) % 64 : 0;
    void *whole = std::malloc(n_bytes + 128);
    if (!whole) throw std::bad_alloc();
    std::uintptr_t line = (reinterpret_cast<std::uintptr_t>(whole) + 16 + 63) / 64 * 64;
    void **start = reinterpret_cast<void **>(line + offset);
    start[-1] = whole;
    return start;
}
void operator delete[](void *start) noexcept { if (start) std::free(static_cast<void **>(start)[-1]); }
void operator delete[](void *start, std::size_t) noexcept { operator delete[](start); }
"""


def placing_library(folder: Path) -> Path | None:
    """Build the library in a folder, unless it is there; None where there is no glibc or no compiler."""
    if platform.libc_ver()[0] != "glibc" or shutil.which(_COMPILER) is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    source, library = folder / "work_buffer.cpp", folder / "work_buffer.so"
    if not library.exists() or source.read_text() != _SOURCE:
        source.write_text(_SOURCE)
        subprocess.run([_COMPILER, "-shared", "-fPIC", "-O1", source.name, "-o", library.name], cwd=folder, check=True)
    return library


def placed(library: Path | None, offset_bytes: int) -> dict[str, str]:
    """Return the variables that place the arrays of a process; none without the library."""
    return {"LD_PRELOAD": str(library), _OFFSET: str(offset_bytes)} if library else {}
