"""A Jetson's power sensor: volts and amperes at the module's input.

Source: "Software-Based Power Consumption Modeling" in the Jetson Linux developer guide; the kernel's
Documentation/hwmon/ina3221.rst (in*_input in millivolts, curr*_input in milliamperes).
"""

from collections.abc import Callable
from pathlib import Path

from profiler.device.energy.meter import Meter, NoMeter
from profiler.device.os.files import read_int, read_text

_INPUTS = ("VDD_IN", "POM_5V_IN")  # the whole module; the other channels are parts of it
_INTERVAL_MS = 100


def find(root: Path) -> Meter | NoMeter | None:
    """Return the sensor at the module's input; None without one."""
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read_text(chip / "name") != "ina3221":
            continue
        for channel in (1, 2, 3):
            if read_text(chip / f"in{channel}_label") in _INPUTS:
                read = _reader(chip / f"in{channel}_input", chip / f"curr{channel}_input")
                return Meter(source="INA3221", covers="the whole module", interval_ms=_INTERVAL_MS, read_watts=read)
        return NoMeter("the power sensor INA3221 has no channel for the whole module")
    return None


def _reader(millivolts: Path, milliamperes: Path) -> Callable[[], float | None]:
    def read() -> float | None:
        volts, amperes = read_int(millivolts), read_int(milliamperes)
        return None if volts is None or amperes is None else volts * amperes / 1e6

    return read
