"""Which source of energy this device has, or why it has none."""

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

ROOT = Path("/")
_NO_SENSOR = "the system shows no sensor: neither RAPL, nor a Raspberry Pi 5's PMIC, nor a Jetson's INA3221"


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """A source: exactly one of the two functions is there."""

    source: str
    covers: str
    interval_ms: int | None = None  # between samples; None for a counter
    ranges_uj: dict[str, int] = {}
    read_counters_uj: Callable[[], dict[str, int]] | None = None  # of the measured process: some microseconds
    read_watts: Callable[[], float | None] | None = None  # of the parent: may start a process


class NoMeter(msgspec.Struct, frozen=True):
    """No source, and why."""

    reason: str


def find_meter(board: str | None, root: Path = ROOT) -> Meter | NoMeter:
    """Look for a source; on a Raspberry Pi and a Mac this asks a program of the system."""
    if sys.platform == "darwin":
        from profiler.device.energy import powermetrics

        return powermetrics.find()
    if not sys.platform.startswith("linux"):
        return NoMeter("no source of energy is known on this system")
    from profiler.device.energy import ina3221, pmic, rapl

    return rapl.find(root) or pmic.find(board) or ina3221.find(root) or NoMeter(_NO_SENSOR)


def counters(root: Path = ROOT) -> Callable[[], dict[str, int]]:
    """Give what reads this device's energy counters; it gives none where energy is sampled. Starts no process."""
    if sys.platform.startswith("linux"):
        from profiler.device.energy import rapl

        found = rapl.find(root)
        if isinstance(found, Meter) and found.read_counters_uj:
            return found.read_counters_uj
    return dict
