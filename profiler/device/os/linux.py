"""Linux: /proc, /sys and the control groups. A Raspberry Pi, a Jetson and a container are Linux with quirks.

Every function takes the root folder, so that recorded trees of other machines can be tested.
Source: proc(5), the kernel's Documentation/admin-guide/pm/cpufreq.rst and intel_pstate.rst,
ABI/testing/sysfs-class-power and sysfs-platform_profile.rst.
"""

import os
import re
import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from profiler.device.os import arm, cgroup, cooling, features, jetson, raspberry
from profiler.device.os.files import read_int, read_text, sizes_of
from profiler.device.os.machine import Details, Machine, kind_names
from profiler.records.environment import CoreKind
from profiler.records.round import Conditions

ROOT = Path("/")
_CPUS = "sys/devices/system/cpu"
_CPU_ZONES = re.compile(r"cpu|soc|x86_pkg|package|core|acpitz|bcm", re.IGNORECASE)
_CPU_CHIPS = ("k10temp", "zenpower", "coretemp", "cpu_thermal")  # hwmon drivers of a CPU's own sensor
_PLAUSIBLE_C = (-40, 150)  # a sensor that is switched off reports nonsense


def cpu_list(text: str) -> tuple[int, ...]:
    """Parse the kernel's list format: "0-3,8"."""
    cpus: list[int] = []
    for part in text.split(","):
        if match := re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part.strip()):
            cpus.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(cpus)


def describe(root: Path = ROOT, allowed: Sequence[int] | None = None) -> Machine:
    """Return what does not change while a sweep runs; `allowed` are the CPUs that this process may use."""
    online = _online(root)
    kinds = core_kinds(root, online)
    if allowed is None:  # the kernel keeps the affinity within the cpuset
        allowed = tuple(sorted(os.sched_getaffinity(0))) if root == ROOT else online
    quota, limit = cgroup.limits(root)
    memory = _meminfo(root)
    return Machine(
        board=_board(root),
        cpu_name=arm.cpu_name(read_text(root / "proc/cpuinfo") or ""),
        cores_physical=_physical(root, allowed),
        cores_logical=len(online),
        core_kinds=kinds,
        affinity=None if set(allowed) == set(online) else tuple(allowed),
        cpu_quota=quota,
        memory_bytes=memory.get("MemTotal") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        memory_limit_bytes=limit,
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        huge_pages=_bracketed(read_text(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        governor=_governor(root, online),
        turbo=_turbo(root),
        power_mode=jetson.power_mode(root) or _platform_profile(root),
    )


def _online(root: Path) -> tuple[int, ...]:
    return cpu_list(read_text(root / _CPUS / "online") or "") or tuple(range(os.cpu_count() or 1))


def details(root: Path = ROOT) -> Details:
    """Return facts that explain the machine to its user; on a Raspberry Pi this starts vcgencmd."""
    return Details(
        os_name=_os_name(root),
        cpu_features=features.of_cpuinfo(read_text(root / "proc/cpuinfo") or ""),
        throttled_before=raspberry.throttle_before(_board(root)),
        zram_used_bytes=_zram_used(root),
        turbo_switch=_turbo_switch(root),
        power_modes=tuple((read_text(root / "sys/firmware/acpi/platform_profile_choices") or "").split()),
        fastest_power_mode=jetson.fastest_mode(root),
    )


def _board(root: Path) -> str | None:
    return read_text(root / "proc/device-tree/model") or read_text(root / "sys/firmware/devicetree/base/model")


def _os_name(root: Path) -> str | None:
    text = read_text(root / "etc/os-release") or read_text(root / "usr/lib/os-release") or ""
    match = re.search(r"^PRETTY_NAME=[\"']?([^\"'\n]+)", text, re.MULTILINE)
    return match[1] if match else None


def _physical(root: Path, online: Sequence[int]) -> int:
    cores = set()
    for cpu in online:
        topology = root / _CPUS / f"cpu{cpu}/topology"
        core, package = read_int(topology / "core_id"), read_int(topology / "physical_package_id")
        # Each cluster of an Arm board numbers its cores from 0; siblings are unique everywhere.
        siblings = read_text(topology / "thread_siblings_list") or str(cpu)
        cores.add((package, core, siblings))
    return len(cores) or 1


def physical_of(cpus: Sequence[int], root: Path = ROOT) -> int:
    """Return the number of physical cores behind some logical CPUs."""
    return _physical(root, cpus)


def core_kinds(root: Path, online: Sequence[int]) -> tuple[CoreKind, ...]:
    """Group the CPUs by capacity, fastest first; by maximum frequency where the kernel knows no different capacities.

    A small core can have the higher clock. Kernels without a device's figures give all CPUs one capacity.
    Source: the kernel's Documentation/scheduler/sched-capacity.rst.
    """
    khz = {cpu: read_int(root / _CPUS / f"cpu{cpu}/cpufreq/cpuinfo_max_freq") for cpu in online}
    capacity = {cpu: read_int(root / _CPUS / f"cpu{cpu}/cpu_capacity") for cpu in online}
    groups = _alike(capacity)
    if len(groups) < 2:
        groups = _alike(khz)
    return tuple(
        CoreKind(name=name, cpus=tuple(sorted(cpus)), max_mhz=_max_mhz([khz[cpu] for cpu in cpus]))
        for name, cpus in zip(kind_names(len(groups)), groups, strict=True)
    )


def _alike(speed: Mapping[int, int | None]) -> list[list[int]]:
    """Group CPUs of about one speed, fastest first; all are one group where a speed is unknown."""
    known = {cpu: value for cpu, value in speed.items() if value is not None}
    if len(known) < len(speed):
        return [list(speed)]
    # Favored cores of one kind differ by a few per cent; kinds differ by more.
    groups: list[list[int]] = []
    for cpu in sorted(known, key=lambda cpu: (-known[cpu], cpu)):
        if groups and known[cpu] > 0.9 * known[groups[-1][0]]:
            groups[-1].append(cpu)
        else:
            groups.append([cpu])
    return groups


def _max_mhz(khz: Sequence[int | None]) -> float | None:
    known = [each for each in khz if each is not None]
    return max(known) / 1000 if len(known) == len(khz) and known else None


def _governor(root: Path, online: Sequence[int]) -> str | None:
    names = {read_text(root / _CPUS / f"cpu{cpu}/cpufreq/scaling_governor") for cpu in online}
    return "+".join(sorted(name for name in names if name)) or None


def _turbo_switch(root: Path) -> str | None:
    if read_int(root / _CPUS / "intel_pstate/no_turbo") is not None:
        return "intel_pstate"
    return None if read_int(root / _CPUS / "cpufreq/boost") is None else "boost"


def _turbo(root: Path) -> bool | None:
    switch = _turbo_switch(root)
    if switch is None:
        return None
    if switch == "intel_pstate":
        return read_int(root / _CPUS / "intel_pstate/no_turbo") == 0
    return read_int(root / _CPUS / "cpufreq/boost") == 1


def _bracketed(text: str | None) -> str | None:
    match = re.search(r"\[(\w+)\]", text or "")
    return match[1] if match else None


def _platform_profile(root: Path) -> str | None:
    name = read_text(root / "sys/firmware/acpi/platform_profile")
    return f"platform profile {name}" if name else None


def _meminfo(root: Path) -> dict[str, int]:
    return sizes_of(read_text(root / "proc/meminfo"))


def _zram_used(root: Path) -> int | None:
    text = read_text(root / "proc/swaps") or ""
    used = re.findall(r"^\S*/zram\d+\s+\w+\s+\d+\s+(\d+)", text, re.MULTILINE)
    return sum(int(kib) * 1024 for kib in used) if used else None


def available_bytes(root: Path = ROOT) -> int:
    """Return the kernel's estimate of available memory, or what a container's limit leaves if that is less."""
    memory = _meminfo(root)
    # Kernels before 3.14 have no estimate.
    free = memory.get("MemAvailable", sum(memory.get(name, 0) for name in ("MemFree", "Buffers", "Cached")))
    if not memory and root == ROOT:  # /proc cannot be read
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    left = cgroup.bytes_left(root)
    return max(free if left is None else min(free, left), 0)


def conditions(cpus: Iterable[int] | None = None, root: Path = ROOT, *, n_busy: int | None = None) -> Conditions:
    """Return what changes while a sweep runs; takes about a millisecond, on a Raspberry Pi 5 some more for vcgencmd."""
    mhz = sorted(_mhz(root, cpus), reverse=True)[:n_busy]
    switches = re.search(
        r"^nonvoluntary_ctxt_switches:\s+(\d+)$", read_text(root / "proc/self/status") or "", re.MULTILINE
    )
    steal_ns, busy_ns = _cpu_times(root)
    clock_ns = time.monotonic_ns()
    memory = _meminfo(root)
    swap = memory["SwapTotal"] - memory["SwapFree"] if {"SwapTotal", "SwapFree"} <= set(memory) else None
    load = (read_text(root / "proc/loadavg") or "").split()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    throttle, throttle_problem = raspberry.throttle_now(root, _board(root))
    return Conditions(
        mhz=sum(mhz) / len(mhz) if mhz else None,
        mhz_min=min(mhz, default=None),
        temperature_c=_temperature(root),
        throttle=(*throttle, *cooling.limits(root)),
        throttle_problem=throttle_problem,
        throttle_count=_throttle_count(root),
        load_1m=float(load[0]) if load else None,
        steal_ns=steal_ns,
        busy_ns=busy_ns,
        clock_ns=clock_ns,
        process_cpu_ns=time.process_time_ns(),
        involuntary_switches=int(switches[1]) if switches else None,
        major_faults=usage.ru_majflt,
        minor_faults=usage.ru_minflt,
        swap_used_bytes=swap,
        on_battery=_on_battery(root),
        governor=_governor(root, sorted(cpus) if cpus is not None else _online(root)),
    )


def _mhz(root: Path, cpus: Iterable[int] | None) -> list[float]:
    chosen = None if cpus is None else set(cpus)
    found = []
    for path in sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq/scaling_cur_freq")):
        khz = read_int(path)
        if khz and (chosen is None or int(path.parent.parent.name[3:]) in chosen):
            found.append(khz / 1000)
    if found:
        return found
    listed = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", read_text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return [float(mhz) for index, mhz in enumerate(listed) if chosen is None or index in chosen]


def _temperature(root: Path) -> float | None:
    # Battery, wireless and board zones are not the CPU. AMD CPUs have no zone, but an hwmon chip of their own.
    zones = [
        read_int(zone / "temp")
        for zone in (root / "sys/class/thermal").glob("thermal_zone*")
        if _CPU_ZONES.search(read_text(zone / "type") or "")
    ]
    chips = [
        read_int(sensor)
        for chip in (root / "sys/class/hwmon").glob("hwmon*")
        if read_text(chip / "name") in _CPU_CHIPS
        for sensor in chip.glob("temp*_input")
    ]
    least, most = _PLAUSIBLE_C
    degrees = [milli / 1000 for milli in (*zones, *chips) if milli is not None and least < milli / 1000 < most]
    return max(degrees, default=None)


def _throttle_count(root: Path) -> int | None:
    counts = [
        count
        for path in (root / _CPUS).glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
        if (count := read_int(path)) is not None
    ]
    return sum(counts) if counts else None


def _cpu_times(root: Path) -> tuple[int | None, int | None]:
    """Return stolen and busy nanoseconds of all CPUs since boot. Source: the first line of /proc/stat."""
    words = (read_text(root / "proc/stat") or "").split("\n", 1)[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None, None
    ticks = [int(word) for word in words[1:9]]
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    user, nice, kernel, _idle, _iowait, irq, softirq, steal = ticks
    return steal * tick_ns, (user + nice + kernel + irq + softirq) * tick_ns


def _on_battery(root: Path) -> bool | None:
    """Return whether the machine runs on battery; None without one. A mouse's battery has the scope "Device"."""
    supplies = [
        supply for supply in (root / "sys/class/power_supply").glob("*") if read_text(supply / "scope") != "Device"
    ]
    batteries = [supply for supply in supplies if read_text(supply / "type") == "Battery"]
    if not batteries:
        return None
    # A charger is "Mains", and "USB" where it comes through USB-C.
    chargers = [read_int(supply / "online") for supply in supplies if read_text(supply / "type") in ("Mains", "USB")]
    if any(chargers):
        return False
    return bool(chargers) or any(read_text(battery / "status") == "Discharging" for battery in batteries)
