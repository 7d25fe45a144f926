"""Control groups: what a container or a service may use of a Linux machine.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

import re
from pathlib import Path

from profiler.device.os.files import read_int, read_text

# Version 1 writes "no limit" as the largest number of whole pages that fits.
_NO_LIMIT = 1 << 60
_V1_CONTROLLERS = ("memory", "cpu")
_MOUNT = "sys/fs/cgroup"


def group_folders(root: Path) -> list[Path]:
    """Return this process's groups, innermost first: of version 2, or of version 1's memory and cpu hierarchies.

    A container sees its own group at the top of the mount while /proc may name it by its path on the host, so every
    folder up to the top is included; those that do not exist have no files to read.
    """
    folders: list[Path] = []
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        names, _, place = rest.partition(":")
        controllers = [name for name in names.split(",") if name in _V1_CONTROLLERS]
        if names and not controllers:
            continue
        # Some systems mount "cpu,cpuacct" and list it as "cpuacct,cpu"; a link with the single name exists too.
        bases = [f"{_MOUNT}/{name}" for name in dict.fromkeys((names, *controllers))] if names else [_MOUNT]
        for base in bases:
            top = root / base
            # A process outside the root of its namespace has a path with "..", which cannot be seen from here.
            inner = top if ".." in place.split("/") else top / place.strip("/")
            while inner != top:
                folders.append(inner)
                inner = inner.parent
            folders.append(top)
    return folders


def limits(root: Path) -> tuple[float | None, int | None]:
    """Return the limits in CPUs and in bytes of memory: the tightest of all groups around this process."""
    quotas, memory = [], []
    for folder in group_folders(root):
        words = (read_text(folder / "cpu.max") or "").split()  # "max 100000" without a limit
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
        quota, period = read_int(folder / "cpu.cfs_quota_us"), read_int(folder / "cpu.cfs_period_us")
        if quota and period and quota > 0:  # -1 without a limit
            quotas.append(quota / period)
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = read_int(folder / name)
            if limit is not None and limit < _NO_LIMIT:
                memory.append(limit)
    return min(quotas, default=None), min(memory, default=None)


def bytes_left(root: Path) -> int | None:
    """Return the bytes left under the tightest limit; None without a limit."""
    left = []
    for folder in group_folders(root):
        for limit_name, used_name, inactive_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = read_int(folder / limit_name), read_int(folder / used_name)
            if limit is None or used is None or limit >= _NO_LIMIT:
                continue
            # The kernel drops inactive file pages before an allocation fails.
            match = re.search(rf"^{inactive_name} (\d+)$", read_text(folder / "memory.stat") or "", re.MULTILINE)
            left.append(limit - used + (int(match[1]) if match else 0))
    return min(left, default=None)
