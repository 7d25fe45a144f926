"""What the operating system knows of the machine: the records that every platform fills."""

import msgspec

from profiler.records.environment import CoreKind


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the environment that the operating system knows."""

    board: str | None = None
    cpu_name: str | None = None  # where it is better than py-cpuinfo's, which knows some CPUs by family only
    cores_physical: int
    cores_logical: int
    core_kinds: tuple[CoreKind, ...] = ()
    affinity: tuple[int, ...] | None = None
    cpu_quota: float | None = None
    memory_bytes: int
    memory_limit_bytes: int | None = None
    page_bytes: int
    huge_pages: str | None = None
    governor: str | None = None
    turbo: bool | None = None
    power_mode: str | None = None


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that explain a device to its user; two runs need not share them to be comparable."""

    os_name: str | None = None  # "Debian GNU/Linux 12 (bookworm)", "macOS 14.5"
    cpu_features: tuple[str, ...] = ()  # of the CPU, under ggml's names; empty where the system does not report them
    throttled_before: tuple[str, ...] = ()  # a Raspberry Pi's flags raised since boot
    zram_used_bytes: int | None = None  # the part of the swap that is compressed memory
    turbo_switch: str | None = None  # "intel_pstate" | "boost": the kernel file that turns turbo off
    power_modes: tuple[str, ...] = ()  # the platform profiles that a Linux machine supports
    fastest_power_mode: int | None = None  # nvpmodel's number of a Jetson's unlimited mode
    translated: bool = False  # an x86-64 Python running under Rosetta


def kind_names(n_kinds: int) -> list[str]:
    """Return names for kinds of cores, fastest first."""
    if n_kinds == 1:
        return ["all"]
    return ["performance", *["middle"] * (n_kinds - 2), "efficiency"]
