"""A Raspberry Pi 5's power chip: volts and amperes of each rail, as `vcgencmd pmic_read_adc` reports them.

Source: "vcgencmd" in the Raspberry Pi documentation. The rails feed processor, memory, wireless and
the 3.3 V and 1.8 V parts. They do not include USB devices, fans and the loss in the supply.
"""

import re

from profiler.device.energy.meter import Meter, NoMeter
from profiler.device.os import raspberry

_BOARDS = ("Raspberry Pi 5", "Raspberry Pi Compute Module 5")  # the former is also the start of "Raspberry Pi 500"
_INTERVAL_MS = 500  # a reading starts a process of some milliseconds
_LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*$", re.MULTILINE)


def find(board: str | None) -> Meter | NoMeter | None:
    """Return the chip of a Raspberry Pi 5, the reason why it cannot be read, or None on another board."""
    if not board or not board.startswith("Raspberry Pi"):
        return None
    if not board.startswith(_BOARDS):
        return NoMeter("this board has no power sensor; a Raspberry Pi 5 has one")
    if read_watts() is None:
        return NoMeter(
            "vcgencmd pmic_read_adc prints no figures; install vcgencmd, and add this user to the group video: "
            "sudo usermod -aG video $USER"
        )
    return Meter(
        source="Pi 5 PMIC",
        covers="the rails of the board's power chip, without USB, fans and the supply's loss",
        interval_ms=_INTERVAL_MS,
        read_watts=read_watts,
    )


def read_watts() -> float | None:
    """Return the sum over all rails now; None where the chip cannot be read."""
    return parse_watts(raspberry.vcgencmd("pmic_read_adc"))


def parse_watts(text: str) -> float | None:
    """Return the sum of volts times amperes over the rails that report both; None where no rail does."""
    rails: dict[str, dict[str, float]] = {}
    for name, unit, value in _LINE.findall(text):
        rails.setdefault(name, {})[unit] = float(value)
    powers = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == 2]
    return sum(powers) if powers else None
