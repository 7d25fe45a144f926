"""Linux: /proc, /sys and the control groups. A Raspberry Pi, a Jetson and a container are Linux with quirks.

Every function takes the root folder, so that recorded trees of machines that are not here can be tested.
Source: proc(5), the kernel's Documentation/admin-guide/pm/cpufreq.rst, cgroup-v2.rst, and the Raspberry Pi firmware's
get_throttled bits (documentation of vcgencmd).
"""

import os
import re
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from profiler.record import Conditions, CoreKind
from profiler.system import Machine

ROOT = Path("/")
_CPUS = "sys/devices/system/cpu"
_CPU_ZONES = re.compile(r"cpu|soc|x86_pkg|package|core|acpitz|bcm", re.IGNORECASE)
_PI_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
# A container without a limit shows one near the largest number that fits.
_NO_LIMIT = 1 << 60
# Implementer and part of Arm's own cores in /proc/cpuinfo. Source: Arm's MIDR_EL1 part numbers, as in lscpu's table.
_ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd0d": "Cortex-A77",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd44": "Cortex-X1",
    "0xd46": "Cortex-A510",
    "0xd47": "Cortex-A710",
    "0xd48": "Cortex-X2",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def _int(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None


def cpu_list(text: str) -> tuple[int, ...]:
    """Read the kernel's list format: "0-3,8"."""
    cpus: list[int] = []
    for part in text.split(","):
        if match := re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part.strip()):
            cpus.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(cpus)


def describe(root: Path = ROOT) -> Machine:
    """Read everything that does not change while a sweep runs."""
    import psutil

    online = cpu_list(_text(root / _CPUS / "online") or "") or tuple(range(os.cpu_count() or 1))
    kinds = core_kinds(root, online)
    allowed = tuple(sorted(os.sched_getaffinity(0))) if root == ROOT else online
    quota, limit = _cgroup_limits(root)
    memory = _meminfo(root)
    return Machine(
        board=_text(root / "proc/device-tree/model") or _text(root / "sys/firmware/devicetree/base/model"),
        cpu_name=_arm_name(root),
        cores_physical=_physical(root, online),
        cores_logical=len(online),
        core_kinds=kinds,
        affinity=None if set(allowed) == set(online) else allowed,
        cpu_quota=quota,
        memory_bytes=memory.get("MemTotal") or psutil.virtual_memory().total,
        memory_limit_bytes=limit,
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        huge_pages=_chosen(_text(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        governor=_governor(root, online),
        turbo=_turbo(root),
        power_mode=_jetson_mode(root),
    )


def _physical(root: Path, online: Sequence[int]) -> int:
    cores = set()
    for cpu in online:
        topology = root / _CPUS / f"cpu{cpu}/topology"
        core, package = _int(topology / "core_id"), _int(topology / "physical_package_id")
        # Clusters of an Arm board number their cores anew; siblings tell them apart everywhere.
        siblings = _text(topology / "thread_siblings_list") or str(cpu)
        cores.add((package, core, siblings))
    return len(cores) or 1


def core_kinds(root: Path, online: Sequence[int]) -> tuple[CoreKind, ...]:
    """Group the CPUs by maximum frequency, fastest first; one group where there is no such figure."""
    by_khz: dict[int | None, list[int]] = {}
    for cpu in online:
        by_khz.setdefault(_int(root / _CPUS / f"cpu{cpu}/cpufreq/cpuinfo_max_freq"), []).append(cpu)
    if None in by_khz:
        return (CoreKind(name="all", cpus=tuple(online)),)
    ordered = sorted(((khz, cpus) for khz, cpus in by_khz.items() if khz is not None), reverse=True)
    # Favoured cores of one kind differ by a few per cent; kinds differ by more.
    groups: list[tuple[int, list[int]]] = []
    for khz, cpus in ordered:
        if groups and khz > 0.9 * groups[-1][0]:
            groups[-1][1].extend(cpus)
        else:
            groups.append((khz, list(cpus)))
    names = ["all"] if len(groups) == 1 else ["performance"] + ["middle"] * (len(groups) - 2) + ["efficiency"]
    return tuple(
        CoreKind(name=name, cpus=tuple(sorted(cpus)), max_mhz=khz / 1000)
        for name, (khz, cpus) in zip(names, groups, strict=True)
    )


def _arm_name(root: Path) -> str | None:
    text = _text(root / "proc/cpuinfo") or ""
    if "CPU implementer" not in text:
        return None
    parts = dict.fromkeys(re.findall(r"CPU part\s*:\s*(0x[0-9a-f]+)", text))
    names = [_ARM_PARTS.get(part, f"part {part}") for part in parts]
    return " + ".join(f"Arm {name}" for name in names) or None


def _governor(root: Path, online: Sequence[int]) -> str | None:
    names = {_text(root / _CPUS / f"cpu{cpu}/cpufreq/scaling_governor") for cpu in online}
    return "+".join(sorted(name for name in names if name)) or None


def _turbo(root: Path) -> bool | None:
    no_turbo = _int(root / _CPUS / "intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == 0
    boost = _int(root / _CPUS / "cpufreq/boost")
    return None if boost is None else boost == 1


def _chosen(text: str | None) -> str | None:
    match = re.search(r"\[(\w+)\]", text or "")
    return match[1] if match else None


def _jetson_mode(root: Path) -> str | None:
    text = _text(root / "var/lib/nvpmodel/status")
    return f"nvpmodel {text}" if text else None


def _meminfo(root: Path) -> dict[str, int]:
    text = _text(root / "proc/meminfo") or ""
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def _cgroup_folders(root: Path) -> list[Path]:
    """Give this process's control groups, innermost first, v2 or v1's memory and cpu hierarchies."""
    folders: list[Path] = []
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if ".." in place:
            continue
        bases = ["sys/fs/cgroup"] if not controllers else [f"sys/fs/cgroup/{controllers}"]
        if controllers and not {"memory", "cpu"} & set(controllers.split(",")):
            continue
        for base in bases:
            inner = root / base / place.lstrip("/")
            while inner != root / base:
                folders.append(inner)
                inner = inner.parent
            folders.append(root / base)
    return folders


def _cgroup_limits(root: Path) -> tuple[float | None, int | None]:
    quotas, limits = [], []
    for folder in _cgroup_folders(root):
        words = (_text(folder / "cpu.max") or "").split()
        if len(words) == 2 and words[0].isdigit():
            quotas.append(int(words[0]) / int(words[1]))
        quota, period = _int(folder / "cpu.cfs_quota_us"), _int(folder / "cpu.cfs_period_us")
        if quota and period and quota > 0:
            quotas.append(quota / period)
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _int(folder / name)
            if limit is not None and limit < _NO_LIMIT:
                limits.append(limit)
    return min(quotas, default=None), min(limits, default=None)


def available_bytes(root: Path = ROOT) -> int:
    """Give the memory that a new process can have: the kernel's estimate, and no more than a container leaves."""
    free = _meminfo(root).get("MemAvailable", 0)
    for folder in _cgroup_folders(root):
        for limit_name, used_name, inactive_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _int(folder / limit_name), _int(folder / used_name)
            if limit is None or used is None or limit >= _NO_LIMIT:
                continue
            # File pages that nobody touched lately are dropped before anything fails.
            match = re.search(rf"^{inactive_name} (\d+)$", _text(folder / "memory.stat") or "", re.MULTILINE)
            free = min(free, limit - used + (int(match[1]) if match else 0))
    return max(free, 0)


def conditions(cpus: Iterable[int] | None = None, root: Path = ROOT) -> Conditions:
    """Read what the machine does now; takes about a millisecond and starts no process."""
    mhz = _mhz(root, cpus)
    switches = re.search(r"^nonvoluntary_ctxt_switches:\s+(\d+)$", _text(root / "proc/self/status") or "", re.MULTILINE)
    steal_ns, busy_ns = _cpu_times(root)
    memory = _meminfo(root)
    swap = memory["SwapTotal"] - memory["SwapFree"] if {"SwapTotal", "SwapFree"} <= set(memory) else None
    load = (_text(root / "proc/loadavg") or "").split()
    return Conditions(
        mhz=sum(mhz) / len(mhz) if mhz else None,
        mhz_min=min(mhz, default=None),
        temperature_c=_temperature(root),
        throttle=_throttle(root),
        throttle_count=_throttle_count(root),
        load_1m=float(load[0]) if load else None,
        steal_ns=steal_ns,
        busy_ns=busy_ns,
        process_cpu_ns=time.process_time_ns(),
        involuntary_switches=int(switches[1]) if switches else None,
        major_faults=resource.getrusage(resource.RUSAGE_SELF).ru_majflt,
        swap_used_bytes=swap,
        on_battery=_on_battery(root),
    )


def _mhz(root: Path, cpus: Iterable[int] | None) -> list[float]:
    chosen = None if cpus is None else set(cpus)
    found = []
    for path in sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq/scaling_cur_freq")):
        khz = _int(path)
        if khz and (chosen is None or int(path.parent.parent.name[3:]) in chosen):
            found.append(khz / 1000)
    if found:
        return found
    listed = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return [float(mhz) for index, mhz in enumerate(listed) if chosen is None or index in chosen]


def _temperature(root: Path) -> float | None:
    degrees = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*"):
        milli = _int(zone / "temp")
        # Battery, wireless and board zones are not the CPU.
        if milli is not None and _CPU_ZONES.search(_text(zone / "type") or ""):
            degrees.append(milli / 1000)
    return max(degrees, default=None)


def _throttle(root: Path) -> tuple[str, ...]:
    text = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if text is None or not re.fullmatch(r"(0x)?[0-9a-fA-F]+", text):
        return ()
    bits = int(text, 16)
    return tuple(name for bit, name in _PI_FLAGS.items() if bits >> bit & 1)


def _throttle_count(root: Path) -> int | None:
    counts = [
        count
        for path in (root / _CPUS).glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
        if (count := _int(path)) is not None
    ]
    return sum(counts) if counts else None


def _cpu_times(root: Path) -> tuple[int | None, int | None]:
    """Give stolen and busy nanoseconds of all CPUs since the start. Source: the first line of /proc/stat."""
    words = (_text(root / "proc/stat") or "").split("\n", 1)[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None, None
    ticks = [int(word) for word in words[1:9]]
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    user, nice, kernel, _idle, _iowait, irq, softirq, steal = ticks
    return steal * tick_ns, (user + nice + kernel + irq + softirq) * tick_ns


def _on_battery(root: Path) -> bool | None:
    supplies = list((root / "sys/class/power_supply").glob("*"))
    mains = [_int(supply / "online") for supply in supplies if _text(supply / "type") == "Mains"]
    if not mains or not any(_text(supply / "type") == "Battery" for supply in supplies):
        return None
    return not any(mains)
