"""What psutil reads alike on every system."""

import psutil

from profiler.records.environment import CoreKind


def available_bytes() -> int:
    """Return the memory that is available to a new process; macOS counts free, inactive and purgeable pages."""
    return int(psutil.virtual_memory().available)


def busy_ns() -> int:
    """Return the CPU time that all CPUs were busy since boot."""
    times = psutil.cpu_times()
    busy_s: float = times.user + times.system + getattr(times, "nice", 0.0)  # Windows has no nice
    return round(busy_s * 1e9)


def swap_used_bytes() -> int:
    """Return the bytes in swap."""
    return int(psutil.swap_memory().used)


def cores_alike(n_logical: int) -> tuple[CoreKind, ...]:
    """Return the kinds of a machine whose cores are all alike, as far as the system reports."""
    return (CoreKind(name="all", cpus=tuple(range(n_logical))),)
