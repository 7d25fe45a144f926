"""Which CPUs a measurement is bound to: what was asked, and whether the system does it."""

import os
import sys
from collections.abc import Collection, Sequence

from profiler.engine import EngineError
from profiler.records.config import MAX_THREADS
from quant.base.errors import UserError
from quant.base.ints import parse_ints


def read_cores(text: str) -> tuple[int, ...]:
    """Read what follows --cores: "fast", or numbers like 0-3.

    Raises:
        UserError: the system binds no thread, or a core is not there or not to be used by this process.
    """
    from profiler.device.environment import cores_of_kind

    if sys.platform == "darwin":
        raise UserError("macOS does not let a program bind threads to cores; leave --cores away")
    if text.strip().lower() == "fast":
        return cores_of_kind("fast")
    cores = parse_ints(text, "--cores", most=MAX_THREADS - 1)
    usable = _usable()
    if missing := [core for core in cores if core not in usable]:
        raise UserError(
            f"--cores {missing[0]}: this process may use the CPUs {cpu_ranges(usable)} only; "
            "others are not there, switched off, or kept from it"
        )
    return cores


def bind(cores: Sequence[int]) -> None:
    """Bind this process, and every thread that it starts from now on, to some CPUs.

    A thread pool's mask alone does not do: with OpenMP ggml applies it only where there are several threads, and goes
    on in silence where the system refuses it. Windows has no such call here, and keeps the mask alone.

    Raises:
        EngineError: the system refuses.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    try:
        os.sched_setaffinity(0, cores)
        bound = os.sched_getaffinity(0)
    except OSError as error:
        raise EngineError(
            "context", f"the system does not bind threads to {cpu_ranges(cores)}: {error.strerror}"
        ) from error
    if bound != set(cores):
        raise EngineError("context", f"the system binds threads to {cpu_ranges(bound)}, not to {cpu_ranges(cores)}")


def _usable() -> set[int]:
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def cpu_ranges(cores: Collection[int]) -> str:
    """Return CPU numbers in the kernel's list format: 0-3,6."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
