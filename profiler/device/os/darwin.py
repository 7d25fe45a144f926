"""macOS: sysctl describes the machine, pmset the power source and the thermal limit, psutil the rest.

macOS does not bind threads to cores.
Source: sysctl(3)'s hw.perflevel names, pmset(1) and its source in Apple's PowerManagement.
"""

import os
import platform
import re
import resource
import time
from collections.abc import Iterable

from profiler.device.os import features, portable
from profiler.device.os.machine import Details, Machine, kind_names
from profiler.device.os.programs import output_of, problem_with
from profiler.records.environment import CoreKind
from profiler.records.round import Conditions

_LEVEL_UNKNOWN = 255  # kIOPMThermalLevelUnknown, IOPM.h

available_bytes = portable.available_bytes
physical_of = len  # cells cannot be bound to CPUs here, so the CPUs that share a core do not matter


def describe() -> Machine:
    """Return what does not change while a sweep runs."""
    return parse_machine(_sysctl(), output_of("pmset", "-g"))


def details() -> Details:
    """Return the system's version and the CPU's instruction sets."""
    return parse_details(_sysctl(), platform.mac_ver()[0])


def _sysctl() -> str:
    # The group `hw` does not include hw.model, and proc_translated exists on Apple silicon only.
    return output_of("sysctl", "hw", "machdep.cpu", "hw.model", "sysctl.proc_translated")


def _values(sysctl: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.]+): (.*)$", sysctl, re.MULTILINE))


def parse_machine(sysctl: str, pmset: str) -> Machine:
    """Parse the output of `sysctl hw machdep.cpu hw.model` and `pmset -g`."""
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
    """Return the kinds, fastest first, from the counts per performance level; level 0 is the fastest.

    CPUs are numbered from the slow cores on: on an M1, 0-3 are efficiency cores and 4-7 performance cores.
    """
    if len(counts) < 2:
        return portable.cores_alike(logical)
    kinds, first = [], sum(counts)
    for name, count in zip(kind_names(len(counts)), counts, strict=True):
        first -= count
        kinds.append(CoreKind(name=name, cpus=tuple(range(first, first + count))))
    return tuple(kinds)


def _power_mode(pmset: str) -> str | None:
    """Parse lowpowermode (0, 1), or powermode (0 automatic, 1 low, 2 high) of machines with a high power mode."""
    found = re.search(r"\b(?:low)?powermode\s+(\d)", pmset)
    if found is None:
        return None
    return {"1": "low power on", "2": "high power"}.get(found[1], "low power off")


def parse_details(sysctl: str, version: str) -> Details:
    """Parse the output of `sysctl hw sysctl.proc_translated`."""
    values = _values(sysctl)
    return Details(
        os_name=f"macOS {version}" if version else None,
        cpu_features=features.of_sysctl(values),
        translated=values.get("sysctl.proc_translated") == "1",
    )


def conditions(cpus: Iterable[int] | None = None, *, n_busy: int | None = None) -> Conditions:
    """Return what changes while a sweep runs; starts pmset, some milliseconds, so never within timed code."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    therm = output_of("pmset", "-g", "therm")
    silent = f"throttling cannot be read: pmset {problem_with('pmset') or 'printed nothing'}"
    return Conditions(
        throttle=parse_throttle(therm),
        throttle_problem=None if therm.strip() else silent,
        load_1m=os.getloadavg()[0],
        busy_ns=portable.busy_ns(),
        clock_ns=time.monotonic_ns(),
        process_cpu_ns=time.process_time_ns(),
        involuntary_switches=usage.ru_nivcsw,
        major_faults=usage.ru_majflt,
        minor_faults=usage.ru_minflt,
        swap_used_bytes=portable.swap_used_bytes(),
        on_battery=parse_on_battery(output_of("pmset", "-g", "ps")),
    )


def parse_on_battery(text: str) -> bool | None:
    """Parse the first line of `pmset -g ps`: "Now drawing from 'AC Power'"."""
    found = re.search(r"drawing from '(\w+)", text)
    return None if found is None else found[1] == "Battery"


def parse_throttle(text: str) -> tuple[str, ...]:
    """Return the limits below 100 % and the warning levels above 0 in the output of `pmset -g therm`.

    Intel Macs report limits, Apple silicon reports levels, and both print a note where nothing was recorded.
    """
    limits = re.findall(r"(CPU_Speed_Limit|CPU_Scheduler_Limit)\s*=\s*(\d+)", text)
    levels = re.findall(r"((?:Thermal|Performance) Warning Level)\s*[=:]\s*(\d+)", text, re.IGNORECASE)
    return (
        *(f"{name.replace('_', ' ').lower()} {value} %" for name, value in limits if int(value) < 100),
        *(f"{name.lower()} {value}" for name, value in levels if int(value) not in (0, _LEVEL_UNKNOWN)),
    )
