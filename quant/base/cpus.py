"""How many CPUs this process may use: a container or `taskset` can leave fewer than the machine has."""

import os


def usable_cpus() -> int:
    """Return their number."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
