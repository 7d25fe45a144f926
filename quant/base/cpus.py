"""How many CPUs this process may use: a container or `taskset` can leave fewer than the machine has."""

import os

_NICENESS = 15  # of 19: the processes that somebody waits for come first


def usable_cpus() -> int:
    """Return their number."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def lower_priority() -> None:
    """Run at low priority, where the system has priorities."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
