"""Windows: what psutil knows."""

import mmap
import platform
import time
from collections.abc import Iterable

import psutil

from profiler.device.os import portable
from profiler.device.os.machine import Details, Machine
from profiler.records.round import Conditions

available_bytes = portable.available_bytes
physical_of = len  # the system does not report which CPUs share a core


def describe() -> Machine:
    """Return what does not change while a sweep runs."""
    logical = psutil.cpu_count() or 1
    return Machine(
        cores_physical=psutil.cpu_count(logical=False) or logical,
        cores_logical=logical,
        core_kinds=portable.cores_alike(logical),
        memory_bytes=psutil.virtual_memory().total,
        page_bytes=mmap.PAGESIZE,
    )


def details() -> Details:
    """Return the name of the system."""
    return Details(os_name=f"Windows {platform.release()}")


def conditions(cpus: Iterable[int] | None = None, *, n_busy: int | None = None) -> Conditions:
    """Return what changes while a sweep runs."""
    battery = psutil.sensors_battery()
    return Conditions(
        busy_ns=portable.busy_ns(),
        clock_ns=time.monotonic_ns(),
        process_cpu_ns=time.process_time_ns(),
        swap_used_bytes=portable.swap_used_bytes(),
        on_battery=None if battery is None else not battery.power_plugged,
    )
