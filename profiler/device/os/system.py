"""The platform that this runs on: one module per platform, all with the functions of `System`."""

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from profiler.device.os.machine import Details, Machine
from profiler.records.round import Conditions


class System(Protocol):
    """The functions of a platform's module."""

    def describe(self) -> Machine:
        """Return what does not change while a sweep runs."""

    def details(self) -> Details:
        """Return what only the user's advice needs; may start a process."""

    def conditions(self, cpus: Iterable[int] | None = None, *, n_busy: int | None = None) -> Conditions:
        """Return what changes while a sweep runs.

        Args:
            cpus: the CPUs whose clock counts; None for all.
            n_busy: how many of them work; only the fastest so many count.
        """

    def available_bytes(self) -> int:
        """Return the memory that is available to a new process."""

    def physical_of(self, cpus: Sequence[int], /) -> int:
        """Return the number of physical cores behind some logical CPUs."""


def this_system() -> System:
    """Return the module of the platform that this runs on."""
    if sys.platform.startswith("linux"):
        from profiler.device.os import linux

        return linux
    if sys.platform == "darwin":
        from profiler.device.os import darwin

        return darwin
    from profiler.device.os import windows

    return windows


def machine_stamp() -> str:
    """Return a hash of the machine's CPU and memory, a key for cached files. Starts no process."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    names = ("model name", "Hardware", "CPU part", "flags", "Features")
    cpu = "".join(dict.fromkeys(line for line in text.splitlines() if line.startswith(names)))
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    facts = f"{platform.machine()}:{os.environ.get('PROCESSOR_IDENTIFIER', '')}:{pages}:{cpu}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
