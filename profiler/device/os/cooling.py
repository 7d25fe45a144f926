"""The kernel's own thermal control: does it throttle the CPUs, on any board?

A cooling device of the CPUs is called "thermal-cpufreq-0", on newer kernels "cpufreq-cpu0", and "Processor" where ACPI
creates it; state 0 is no limit.
Source: the kernel's Documentation/driver-api/thermal/sysfs-api.rst and cpu-cooling-api.rst.
"""

import re
from pathlib import Path

from profiler.device.os.files import read_int, read_text

_CPU_COOLERS = re.compile(r"(?:thermal-cpufreq-\d+|cpufreq-\S+|Processor)")


def limits(root: Path) -> tuple[str, ...]:
    """Return how far the CPUs are throttled, "thermal limit step 3 of 12"; the device furthest from 0 counts."""
    states = [
        (state, read_int(device / "max_state"))
        for device in (root / "sys/class/thermal").glob("cooling_device*")
        if _CPU_COOLERS.fullmatch(read_text(device / "type") or "")
        if (state := read_int(device / "cur_state")) is not None and state > 0
    ]
    if not states:
        return ()
    state, most = max(states, key=lambda pair: pair[0] / (pair[1] or pair[0]))
    return (f"thermal limit step {state} of {most}" if most else f"thermal limit step {state}",)
