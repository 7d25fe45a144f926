"""Which source of energy readings this device has, or why it has none."""

import sys
from collections.abc import Callable
from pathlib import Path

from profiler.device.energy import ina3221, pmic, powermetrics, rapl
from profiler.device.energy.meter import Meter, NoMeter

ROOT = Path("/")
_NO_SENSOR = "the system has no sensor: neither RAPL, nor a Raspberry Pi 5's PMIC, nor a Jetson's INA3221"


def find_meter(board: str | None, root: Path = ROOT) -> Meter | NoMeter:
    """Return the device's source; on a Raspberry Pi and a Mac this starts a program of the system."""
    if sys.platform == "darwin":
        return powermetrics.find()
    if not sys.platform.startswith("linux"):
        return NoMeter("no source of energy readings is known on this system")
    return rapl.find(root) or pmic.find(board) or ina3221.find(root) or NoMeter(_NO_SENSOR)


def counters(root: Path = ROOT) -> Callable[[], dict[str, int]]:
    """Return the reader of the device's energy counters; without counters it reads nothing. Starts no process."""
    found = rapl.find(root) if sys.platform.startswith("linux") else None
    return found.read_counters_uj or dict if isinstance(found, Meter) else dict
