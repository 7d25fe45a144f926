"""What the system tells about the machine, one module per platform, each with the same functions.

describe() -> Machine            what does not change while a sweep runs
conditions(cpus) -> Conditions   what does
available_bytes() -> int         memory that a new process can have
"""

import sys
from types import ModuleType

import msgspec

from profiler.record import CoreKind


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the environment that the operating system knows."""

    board: str | None = None
    cpu_name: str | None = None  # better than py-cpuinfo's where that knows only a family
    cores_physical: int
    cores_logical: int
    core_kinds: tuple[CoreKind, ...] = ()
    affinity: tuple[int, ...] | None = None
    cpu_quota: float | None = None
    memory_bytes: int
    memory_limit_bytes: int | None = None
    page_bytes: int
    huge_pages: str | None = None
    governor: str | None = None
    turbo: bool | None = None
    power_mode: str | None = None


def this_system() -> ModuleType:
    """Give the module of the platform that this runs on."""
    if sys.platform.startswith("linux"):
        from profiler.system import linux

        return linux
    if sys.platform == "darwin":
        from profiler.system import darwin

        return darwin
    from profiler.system import windows

    return windows
