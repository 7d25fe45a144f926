"""Windows: what psutil knows."""

import mmap
import platform
import time
from collections.abc import Iterable

import psutil

from profiler.device.os import Details, Machine
from profiler.records.record import Conditions, CoreKind


def describe() -> Machine:
    """Read everything that does not change while a sweep runs."""
    logical = psutil.cpu_count() or 1
    return Machine(
        cores_physical=psutil.cpu_count(logical=False) or logical,
        cores_logical=logical,
        core_kinds=(CoreKind(name="all", cpus=tuple(range(logical))),),
        memory_bytes=psutil.virtual_memory().total,
        page_bytes=mmap.PAGESIZE,
    )


def details() -> Details:
    """Read what helps to explain the machine."""
    return Details(os_name=f"Windows {platform.release()}")


def available_bytes() -> int:
    """Give the memory that a new process can have."""
    return int(psutil.virtual_memory().available)


def conditions(cpus: Iterable[int] | None = None, *, n_busy: int | None = None) -> Conditions:
    """Read what the machine does now."""
    times = psutil.cpu_times()
    battery = psutil.sensors_battery()
    return Conditions(
        busy_ns=round((times.user + times.system) * 1e9),
        process_cpu_ns=time.process_time_ns(),
        swap_used_bytes=psutil.swap_memory().used,
        on_battery=None if battery is None else not battery.power_plugged,
    )
