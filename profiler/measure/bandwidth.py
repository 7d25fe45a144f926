"""Measure the ceilings of this device in a process of their own, and keep them."""

import re
from pathlib import Path

import msgspec

from profiler.device.bandwidth_record import Ceiling, KernelRun, keep_ceiling
from profiler.device.os.files import read_text
from profiler.measure.bandwidth_worker import Job
from quant.base.child import run_child
from quant.base.errors import UserError
from quant.base.text import message_line
from quant.base.units import format_bytes, utc_now

# A pass must find next to nothing of the one before in the cache.
_TIMES_CACHE = 8
_LEAST_BYTES = 256 << 20  # well beyond the last cache of a desktop, and of a Mac, which does not report its size
# The weights are in memory twice for a moment, and the device must not begin to swap.
_SHARE_OF_AVAILABLE = 1 / 8
_LEAST_TIMES_CACHE = 3  # with less, the cache would be measured
_TIMEOUT_S = 900
_UNITS = {"K": 1 << 10, "M": 1 << 20, "": 1}


def last_cache_bytes(root: Path = Path("/")) -> int | None:
    """Return the size of the largest cache of the first CPU; None where the system does not report it.

    Source: the kernel's Documentation/ABI/testing/sysfs-devices-system-cpu, cache/index*/size.
    """
    sizes = []
    for path in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        if match := re.fullmatch(r"(\d{1,9})([KM]?)", read_text(path) or ""):
            sizes.append(int(match[1]) * _UNITS[match[2]])
    return max(sizes, default=None)


def buffer_bytes(cache_bytes: int | None, available_bytes: int) -> int:
    """Choose how many bytes a pass reads: far beyond the last cache, a small part of the available memory.

    Raises:
        UserError: too little memory is available for a pass far beyond the cache.
    """
    wanted = max(_LEAST_BYTES, _TIMES_CACHE * (cache_bytes or 0))
    chosen = min(wanted, int(available_bytes * _SHARE_OF_AVAILABLE))
    least = _LEAST_TIMES_CACHE * (cache_bytes or _LEAST_BYTES // _TIMES_CACHE)
    if chosen < least:
        raise UserError(
            f"measuring the bandwidth needs {format_bytes(round(least / _SHARE_OF_AVAILABLE))} of available memory, "
            f"only {format_bytes(available_bytes)} are free; close programs"
        )
    return chosen


def measure_ceiling(env_id: str, threads: tuple[int, ...], *, repack: bool, available_bytes: int) -> Ceiling:
    """Measure and keep the ceilings of an environment; takes half a minute, longer with many cores.

    Raises:
        UserError: too little memory is available, or the process failed.
    """
    job = Job(threads=threads, n_bytes=buffer_bytes(last_cache_bytes(), available_bytes), repack=repack)
    runs = _run(job)
    ceiling = Ceiling(env_id=env_id, measured_at=utc_now(), runs=runs)
    keep_ceiling(ceiling)
    return ceiling


def _run(job: Job) -> tuple[KernelRun, ...]:
    output, ending = run_child("profiler.measure.bandwidth_worker", job, timeout_s=_TIMEOUT_S)
    try:
        return msgspec.json.decode(output, type=tuple[KernelRun, ...])
    except msgspec.DecodeError as error:
        reason = message_line(ending.error_line) or f"status {ending.status}"
        raise UserError(f"the bandwidth could not be measured ({reason}); close programs and try again") from error
