"""How llama.cpp was built, what rules its threads, and which Python runs it.

Source: the options GGML_NATIVE and CMAKE_BUILD_TYPE of the pinned llama.cpp and of llama-cpp-python's build.
"""

from collections.abc import Callable

from profiler.doctor.advice.finding import Finding, Seen, note, warning
from profiler.measure.repack_probe import CRASH_FLAGS

_NATIVE = "-DGGML_NATIVE=ON"
_32_BIT_MACHINES = ("armv6l", "armv7l", "armv8l", "i386", "i486", "i586", "i686", "x86")
_INSTALL = {
    "pip": "python -m pip install",
    "pipx": "pipx runpip slmprof install",
    "uv": 'uv pip install --python "$(uv tool dir)/slmprof"',
}
_POINTER_BITS = 64


def features(seen: Seen) -> Finding | None:
    """Warn of instruction sets that the CPU has and the build of llama.cpp lacks."""
    missing = [name for name in seen.details.cpu_features if name not in seen.environment.cpu_features]
    if not missing or _is_32_bit(seen) or seen.details.translated:
        return None
    return warning(
        "features",
        f"the CPU has {', '.join(missing)}, but this llama.cpp was built without it",
        "prefill in particular is far slower than it could be",
        advice="rebuild it on this device, in slmprof's environment, with a compiler that supports this CPU",
        command=rebuild_command(seen, _NATIVE),
    )


def assertions(seen: Seen) -> Finding | None:
    """Warn of a debug build."""
    if not seen.assertions:
        return None
    return warning(
        "debug-build",
        "this llama.cpp is a debug build: it was compiled with assertions",
        "every kernel runs checks, and may not be optimized at all",
        advice="rebuild it as a release, in slmprof's environment",
        command=rebuild_command(seen, f"{_NATIVE} -DCMAKE_BUILD_TYPE=Release"),
    )


def repacking(seen: Seen) -> Finding | None:
    """Warn of repacked kernels that crash."""
    if seen.repacking_works is not False:
        return None
    return warning(
        "repacking",
        "llama.cpp crashes in its repacked kernels here (known for AMX code compiled by GCC 12)",
        "weights are not repacked, as with --no-repack, so prefill is slower than it could be",
        advice="rebuild it in slmprof's environment with GCC 13 or Clang, or without the faulty instruction set",
        command=rebuild_command(seen, CRASH_FLAGS),
    )


def word_size(seen: Seen) -> Finding | None:
    """Warn of a 32-bit system."""
    if not _is_32_bit(seen):
        return None
    what = seen.environment.machine if seen.environment.machine in _32_BIT_MACHINES else f"{seen.word_bits}-bit Python"
    return warning(
        "32-bit",
        f"the system is 32-bit ({what})",
        "a process has at most 4 GiB, and most fast kernels are 64-bit only",
        advice="install the 64-bit edition of the operating system",
    )


def translated(seen: Seen) -> Finding | None:
    """Warn of a Python that runs under Rosetta."""
    if not seen.details.translated:
        return None
    return warning(
        "rosetta",
        "this Python is an x86-64 program running under Rosetta",
        "llama.cpp runs without this CPU's fast kernels",
        advice="reinstall slmprof with an arm64 Python",
    )


def variables(seen: Seen) -> Finding | None:
    """Warn of environment variables that control llama.cpp's threads; note those that have no effect here."""
    found = seen.environment.thread_variables
    if not found:
        return None
    listed = ", ".join(f"{name}={value}" for name, value in found.items())
    verb = "is" if len(found) == 1 else "are"
    if seen.environment.system == "Windows":
        command = "Remove-Item " + ", ".join(f"Env:{name}" for name in found)
    else:
        command = "unset " + " ".join(found)
    if seen.environment.threading != "openmp" and not any(name.startswith("GGML_") for name in found):
        return note("variables", f"{listed} {verb} set", "this llama.cpp does not use OpenMP: no effect")
    return warning(
        "variables",
        f"{listed} {verb} set",
        "such variables change where llama.cpp's threads run, how they wait, or which code they use",
        command=command,
    )


def binding(seen: Seen) -> Finding | None:
    """Note that macOS decides where threads run."""
    if seen.environment.system != "Darwin":
        return None
    fast = next((len(kind.cpus) for kind in seen.environment.core_kinds if kind.name == "performance"), None)
    return note(
        "no-binding",
        "macOS does not bind threads to cores",
        "the system moves threads between performance and efficiency cores",
        advice=f"keep -t at {fast} or below, the number of performance cores" if fast else None,
    )


def rebuild_command(seen: Seen, flags: str) -> str:
    """Return the command that rebuilds llama.cpp, without a cached wheel: pip reuses one whatever CMAKE_ARGS is."""
    version = seen.environment.binding_version
    if seen.installer == "uv":
        words = "--no-cache --reinstall-package llama-cpp-python --no-deps --no-binary llama-cpp-python"
    else:
        words = "--no-cache-dir --force-reinstall --no-deps --no-binary llama-cpp-python"
    install = f"{_INSTALL[seen.installer]} {words} llama-cpp-python=={version}"
    if seen.environment.system == "Windows":
        return f"$env:CMAKE_ARGS='{flags}'; {install}"
    quoted = f"'{flags}'" if " " in flags else flags
    return f"CMAKE_ARGS={quoted} {install}"


def _is_32_bit(seen: Seen) -> bool:
    return seen.environment.machine in _32_BIT_MACHINES or seen.word_bits < _POINTER_BITS


RULES: tuple[Callable[[Seen], Finding | None], ...] = (
    word_size,
    translated,
    repacking,
    features,
    assertions,
    variables,
    binding,
)
