"""Bind a measurement to CPUs: read --cores, and check that the system did it."""

import os
import sys
from collections.abc import Collection, Sequence

from profiler.engine import EngineError
from profiler.records.config import MAX_THREADS
from quant.base.cpus import cpu_numbers
from quant.base.errors import UserError
from quant.base.ints import parse_ints


def read_cores(text: str) -> tuple[int, ...]:
    """Read the value of --cores: "fast", or numbers like 0-3.

    Raises:
        UserError: the system cannot bind threads, or a core does not exist or is not available to this process.
    """
    from profiler.device.environment import cores_of_kind

    if sys.platform == "darwin":
        raise UserError("macOS does not let a program bind threads to cores; omit --cores")
    if text.strip().lower() == "fast":
        return cores_of_kind("fast")
    cores = parse_ints(text, "--cores", most=MAX_THREADS - 1)
    usable = cpu_numbers()
    if missing := [core for core in cores if core not in usable]:
        raise UserError(
            f"--cores {missing[0]}: this process may use the CPUs {cpu_ranges(usable)} only; "
            "others do not exist, are offline, or are not allowed"
        )
    return cores


def bind(cores: Sequence[int]) -> None:
    """Bind this process, and every thread that it starts from now on, to some CPUs.

    A thread pool's mask alone is not enough: with OpenMP ggml applies it only to several threads, and ignores a
    refusal of the system. Windows has no such call here, and gets the mask alone.

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


def cpu_ranges(cores: Collection[int]) -> str:
    """Return CPU numbers in the kernel's list format: 0-3,6."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
