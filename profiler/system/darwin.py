"""macOS: sysctl tells the machine, pmset the power and the thermal limit, psutil the rest.

Source: sysctl(3)'s hw.perflevel names, pmset(1). Threads cannot be bound to cores here.
"""

import os
import re
import resource
import subprocess
import time
from collections.abc import Iterable

from profiler.record import Conditions, CoreKind
from profiler.system import Machine


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout  # noqa: S603  fixed commands
    except (OSError, subprocess.TimeoutExpired):
        return ""


def describe() -> Machine:
    """Read everything that does not change while a sweep runs."""
    return parse_machine(_output("sysctl", "hw", "machdep.cpu"), _output("pmset", "-g"))


def parse_machine(sysctl: str, pmset: str) -> Machine:
    """Make the machine from the output of `sysctl hw machdep.cpu` and `pmset -g`."""
    values = dict(re.findall(r"^([\w.]+): (.*)$", sysctl, re.MULTILINE))

    def number(name: str) -> int:
        return int(values.get(name, "0") or 0)

    kinds, first = [], 0
    for level, name in enumerate(("performance", "efficiency")):
        count = number(f"hw.perflevel{level}.logicalcpu")
        if count:
            kinds.append(CoreKind(name=name, cpus=tuple(range(first, first + count))))
            first += count
    low_power = re.search(r"lowpowermode\s+(\d)", pmset)
    return Machine(
        board=values.get("hw.model"),
        cpu_name=values.get("machdep.cpu.brand_string"),
        cores_physical=number("hw.physicalcpu") or 1,
        cores_logical=number("hw.logicalcpu") or 1,
        core_kinds=tuple(kinds) or (CoreKind(name="all", cpus=tuple(range(number("hw.logicalcpu") or 1))),),
        memory_bytes=number("hw.memsize"),
        page_bytes=number("hw.pagesize") or 16384,
        power_mode=None if low_power is None else f"low power {'on' if low_power[1] == '1' else 'off'}",
    )


def available_bytes() -> int:
    """Give free, inactive and purgeable memory, as psutil adds them up."""
    import psutil

    return int(psutil.virtual_memory().available)


def conditions(cpus: Iterable[int] | None = None) -> Conditions:
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
        swap_used_bytes=psutil.swap_memory().used,
        on_battery="Battery Power" in _output("pmset", "-g", "ps"),
    )


def parse_throttle(text: str) -> tuple[str, ...]:
    """Name the limits below 100 % in the output of `pmset -g therm`."""
    limits = re.findall(r"(CPU_Speed_Limit|CPU_Available_CPUs|CPU_Scheduler_Limit)\s*=\s*(\d+)", text)
    return tuple(
        f"{name.replace('_', ' ').lower()} {value} %"
        for name, value in limits
        if name != "CPU_Available_CPUs" and int(value) < 100
    )
