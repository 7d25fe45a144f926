"""What the system tells about the machine, one module per platform, each with the same functions.

describe() -> Machine            what does not change while a sweep runs
conditions(cpus) -> Conditions   what does
available_bytes() -> int         memory that a new process can have
details() -> Details             what only advice on the device needs, and no record holds
"""

import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import msgspec

from profiler.records.record import CoreKind


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


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What helps to explain a device, beyond what two runs must share."""

    os_name: str | None = None  # "Debian GNU/Linux 12 (bookworm)", "macOS 14.5"
    cpu_features: tuple[str, ...] = ()  # that the CPU has, as ggml names them; empty where the system does not tell
    throttled_before: tuple[str, ...] = ()  # flags that were raised since the start, of a Raspberry Pi
    zram_used_bytes: int | None = None  # the part of the swap that is compressed memory
    turbo_switch: str | None = None  # "intel_pstate" | "boost": which of the kernel's files turns it off
    power_modes: tuple[str, ...] = ()  # the names that a Linux platform profile can have
    fastest_power_mode: int | None = None  # nvpmodel's number of a Jetson's unlimited mode
    translated: bool = False  # an x86-64 Python that Rosetta translates


def this_system() -> ModuleType:
    """Give the module of the platform that this runs on."""
    if sys.platform.startswith("linux"):
        from profiler.device.os import linux

        return linux
    if sys.platform == "darwin":
        from profiler.device.os import darwin

        return darwin
    from profiler.device.os import windows

    return windows


def machine_stamp() -> str:
    """Tell one machine from another by its CPU and memory, without starting anything: for what is kept on disk."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    telling = ("model name", "Hardware", "CPU part", "flags", "Features")
    seen = "".join(dict.fromkeys(line for line in text.splitlines() if line.startswith(telling)))
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    facts = f"{platform.machine()}:{os.environ.get('PROCESSOR_IDENTIFIER', '')}:{pages}:{seen}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def physical_of(cpus: Sequence[int]) -> int:
    """Count the physical cores behind some logical CPUs; all of them where the system does not tell."""
    count = getattr(this_system(), "physical_of", len)
    return int(count(cpus))
