"""How many CPUs this process may use: a container or `taskset` can leave fewer than the machine has."""

import os

_YIELDS = 15  # of 19: the processes that somebody waits for come first


def usable_cpus() -> int:
    """Count them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def give_way() -> None:
    """Take what CPU time others leave, where the system knows such a thing."""
    if hasattr(os, "nice"):
        os.nice(_YIELDS)
