"""macOS: sysctl tells the machine, pmset the power and the thermal limit, psutil the rest.

Source: sysctl(3)'s hw.perflevel names, pmset(1) and its source in Apple's PowerManagement. Threads cannot be bound to
cores here.
"""

import os
import platform
import re
import resource
import subprocess
import time
from collections.abc import Iterable

from profiler.device.os import Details, Machine, features
from profiler.records.record import Conditions, CoreKind

_LEVEL_UNKNOWN = 255  # kIOPMThermalLevelUnknown, IOPM.h


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout  # noqa: S603  fixed commands
    except (OSError, subprocess.TimeoutExpired):
        return ""


def describe() -> Machine:
    """Read everything that does not change while a sweep runs."""
    return parse_machine(_sysctl(), _output("pmset", "-g"))


def details() -> Details:
    """Read what helps to explain the machine."""
    return parse_details(_sysctl(), platform.mac_ver()[0])


def _sysctl() -> str:
    # The list of `hw` leaves hw.model out, and proc_translated is there on Apple's own chips only.
    return _output("sysctl", "hw", "machdep.cpu", "hw.model", "sysctl.proc_translated")


def _values(sysctl: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.]+): (.*)$", sysctl, re.MULTILINE))


def parse_machine(sysctl: str, pmset: str) -> Machine:
    """Make the machine from the output of `sysctl hw machdep.cpu hw.model` and `pmset -g`."""
    values = _values(sysctl)

    def number(name: str) -> int:
        text = values.get(name, "")
        return int(text) if text.isdigit() else 0

    logical = number("hw.logicalcpu") or number("hw.ncpu") or 1
    counts = [number(f"hw.perflevel{level}.logicalcpu") for level in range(number("hw.nperflevels") or 2)]
    return Machine(
        board=values.get("hw.model"),
        cpu_name=values.get("machdep.cpu.brand_string"),
        cores_physical=number("hw.physicalcpu") or logical,
        cores_logical=logical,
        core_kinds=_core_kinds([count for count in counts if count], logical),
        memory_bytes=number("hw.memsize"),
        page_bytes=number("hw.pagesize") or 16384,
        power_mode=_power_mode(pmset),
    )


def _core_kinds(counts: list[int], logical: int) -> tuple[CoreKind, ...]:
    """Make the kinds, fastest first, from the counts of the performance levels; level 0 is the fastest.

    The system numbers the slow cores first: on an M1, 0-3 are efficiency cores and 4-7 performance cores.
    """
    if len(counts) < 2:
        return (CoreKind(name="all", cpus=tuple(range(logical))),)
    names = ["performance", *["middle"] * (len(counts) - 2), "efficiency"]
    kinds, first = [], sum(counts)
    for name, count in zip(names, counts, strict=True):
        first -= count
        kinds.append(CoreKind(name=name, cpus=tuple(range(first, first + count))))
    return tuple(kinds)


def _power_mode(pmset: str) -> str | None:
    """Read lowpowermode (0, 1), or powermode (0 automatic, 1 low, 2 high) of machines that have a high one too."""
    found = re.search(r"\b(?:low)?powermode\s+(\d)", pmset)
    if found is None:
        return None
    return {"1": "low power on", "2": "high power"}.get(found[1], "low power off")


def parse_details(sysctl: str, version: str) -> Details:
    """Make the details from the output of `sysctl hw sysctl.proc_translated` and the system's version."""
    values = _values(sysctl)
    return Details(
        os_name=f"macOS {version}" if version else None,
        cpu_features=features.of_sysctl(values),
        translated=values.get("sysctl.proc_translated") == "1",
    )


def available_bytes() -> int:
    """Give free, inactive and purgeable memory, as psutil adds them up."""
    import psutil

    return int(psutil.virtual_memory().available)


def conditions(cpus: Iterable[int] | None = None, *, n_busy: int | None = None) -> Conditions:
    """Read what the machine does now. pmset is a process of some milliseconds; it runs outside the timed part."""
    import psutil

    usage = resource.getrusage(resource.RUSAGE_SELF)
    times = psutil.cpu_times()
    return Conditions(
        throttle=parse_throttle(_output("pmset", "-g", "therm")),
        load_1m=os.getloadavg()[0],
        busy_ns=round((times.user + times.system + times.nice) * 1e9),
        process_cpu_ns=time.process_time_ns(),
        involuntary_switches=usage.ru_nivcsw,
        major_faults=usage.ru_majflt,
        minor_faults=usage.ru_minflt,
        swap_used_bytes=psutil.swap_memory().used,
        on_battery=parse_on_battery(_output("pmset", "-g", "ps")),
    )


def parse_on_battery(text: str) -> bool | None:
    """Read the first line of `pmset -g ps`: "Now drawing from 'AC Power'"."""
    found = re.search(r"drawing from '(\w+)", text)
    return None if found is None else found[1] == "Battery"


def parse_throttle(text: str) -> tuple[str, ...]:
    """Name the limits below 100 % and the warning levels above 0 in the output of `pmset -g therm`.

    Intel's machines tell limits, Apple's own chips levels, and both a note where nothing was ever recorded.
    """
    limits = re.findall(r"(CPU_Speed_Limit|CPU_Scheduler_Limit)\s*=\s*(\d+)", text)
    levels = re.findall(r"((?:Thermal|Performance) Warning Level)\s*[=:]\s*(\d+)", text, re.IGNORECASE)
    return (
        *(f"{name.replace('_', ' ').lower()} {value} %" for name, value in limits if int(value) < 100),
        *(f"{name.lower()} {value}" for name, value in levels if int(value) not in (0, _LEVEL_UNKNOWN)),
    )
