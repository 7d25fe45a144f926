"""Which CPUs this process may use: a container or `taskset` can leave fewer than the machine has."""

import os


def cpu_numbers() -> set[int]:
    """Return their numbers."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def usable_cpus() -> int:
    """Return how many they are."""
    return len(cpu_numbers())
