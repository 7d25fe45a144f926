"""What else uses the CPU and the memory, and what of them this process is denied.

Source of the commands: taskset(1), swapon(8), docker-update(1), the kernel's
Documentation/admin-guide/mm/transhuge.rst.
"""

from collections.abc import Callable

from profiler.device.affinity import cpu_ranges
from profiler.doctor.advice.finding import Finding, Seen, note, warning
from quant.base.units import format_bytes

# One busy thread delays every barrier of llama.cpp's threads. An idle macOS has a load of 1 to 3.
_BUSY_LOAD = {"Darwin": 3.0}
_BUSY_LOAD_ELSEWHERE = 0.5
_STEAL_SHARE = 0.01
# Systems swap out a few idle pages at any time.
_SWAP_BYTES = 64 << 20
_FREE_SHARE, _FREE_BYTES = 1 / 3, 512 << 20


def load_average(seen: Seen) -> Finding | None:
    """Warn of other programs that use the CPU."""
    load = seen.conditions.load_1m
    if load is None or load <= _BUSY_LOAD.get(seen.environment.system, _BUSY_LOAD_ELSEWHERE):
        return None
    return warning(
        "load",
        f"the load average of the last minute is {load:.2f}",
        "other programs slow down some rounds and not others",
        advice="close the programs at the top of the list, and wait a minute",
        command="top -o cpu" if seen.environment.system == "Darwin" else "top",
    )


def steal(seen: Seen) -> Finding | None:
    """Warn of a host that takes CPU time from this virtual machine."""
    stolen_ns, busy_ns = seen.conditions.steal_ns, seen.conditions.busy_ns
    if not stolen_ns or busy_ns is None or stolen_ns / (stolen_ns + busy_ns) < _STEAL_SHARE:
        return None
    return warning(
        "steal",
        f"since boot the host took {stolen_ns / (stolen_ns + busy_ns):.1%} of the CPU time requested here (steal)",
        "this virtual machine shares its cores: its speed depends on its neighbours",
        advice="measure on a dedicated machine or with reserved cores, or set more --rounds",
    )


def swap(seen: Seen) -> Finding | None:
    """Warn of memory that is swapped out."""
    used, zram = seen.conditions.swap_used_bytes, seen.details.zram_used_bytes
    if used is None or used < _SWAP_BYTES:
        return None
    where = f", {format_bytes(zram)} of it compressed in memory (zram)" if zram else ""
    cost = "compression uses the CPU" if zram else "reading them back uses the disk"
    # Turning swap off needs free memory for its content.
    fits = seen.environment.system == "Linux" and used < seen.available_bytes
    return warning(
        "swap",
        f"{format_bytes(used)} of memory are swapped out{where}",
        f"memory was short; when it is short again, pages are swapped while tokens are timed, and {cost}",
        advice=None if fits else "close programs, or restart the machine",
        command="sudo swapoff -a && sudo swapon -a" if fits else None,
    )


def memory(seen: Seen) -> Finding | None:
    """Warn of little available memory."""
    environment, left = seen.environment, seen.available_bytes
    whole = min(environment.memory_bytes, environment.memory_limit_bytes or environment.memory_bytes)
    if left >= _FREE_BYTES and left >= _FREE_SHARE * whole:
        return None
    limited = " allowed by the container" if whole < environment.memory_bytes else ""
    return warning(
        "memory",
        f"{format_bytes(left)} of the {format_bytes(whole)}{limited} are available",
        "cells that need more are skipped, and others read weights from disk while they are timed",
        advice="close programs, or choose smaller levels",
    )


def quota(seen: Seen) -> Finding | None:
    """Warn of a container's CPU limit below the number of cores."""
    limit, cores = seen.environment.cpu_quota, seen.environment.cores_physical
    if limit is None or limit >= cores:
        return None
    return warning(
        "cpu-quota",
        f"the container is limited to {limit:g} CPUs of {cores} cores",
        "with more threads than that, all threads pause for the rest of each period, about a tenth of a second",
        advice="start the container with a higher limit, or keep -t below it",
        command=f"docker update --cpus {cores} CONTAINER",
    )


def affinity(seen: Seen) -> Finding | None:
    """Warn of CPUs that this process is not allowed to use."""
    allowed, logical = seen.environment.affinity, seen.environment.cores_logical
    if allowed is None or len(allowed) >= logical:
        return None
    return warning(
        "affinity",
        f"this process is allowed {len(allowed)} of {logical} CPUs: {cpu_ranges(allowed)}",
        "more threads than that share CPUs, and results are those of a smaller machine",
        advice="start it without taskset, or the container without --cpuset-cpus",
        command=f"taskset -cp 0-{logical - 1} $$",
    )


def huge_pages(seen: Seen) -> Finding | None:
    """Note that ordinary memory does not get huge pages."""
    setting = seen.environment.huge_pages
    if setting not in ("madvise", "never"):
        return None
    return note(
        "huge-pages",
        f"transparent huge pages are set to {setting}",
        "repacked weights and the KV cache use small pages; always puts them in huge pages, which changes the speed",
        command="echo always | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
    )


RULES: tuple[Callable[[Seen], Finding | None], ...] = (
    load_average,
    steal,
    swap,
    memory,
    quota,
    affinity,
    huge_pages,
)
