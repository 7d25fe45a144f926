"""A Raspberry Pi 5's power chip: volts and amperes of each rail, as `vcgencmd pmic_read_adc` tells them.

Source: "vcgencmd" in the Raspberry Pi documentation. The rails are what the chip feeds: processor, memory, wireless,
the 3.3 V and 1.8 V parts. What USB devices and fans take, and what is lost in the supply, is not in them.
"""

import re

from profiler.device.energy.source import Meter, NoMeter
from profiler.device.os import raspberry

_BOARDS = ("Raspberry Pi 5", "Raspberry Pi Compute Module 5")  # the former is also the start of "Raspberry Pi 500"
_INTERVAL_MS = 500  # a look starts a process of some milliseconds, so it is taken seldom
_LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*$", re.MULTILINE)


def find(board: str | None) -> Meter | NoMeter | None:
    """Give the chip of a Raspberry Pi 5, the reason why it does not answer, or None on another board."""
    if not board or not board.startswith("Raspberry Pi"):
        return None
    if not board.startswith(_BOARDS):
        return NoMeter("this board has no power sensor; a Raspberry Pi 5 has one")
    if read_watts() is None:
        return NoMeter(
            "vcgencmd pmic_read_adc gives no figures; install vcgencmd, and let this user into the group video: "
            "sudo usermod -aG video $USER"
        )
    return Meter(
        source="Pi 5 PMIC",
        covers="the rails of the board's power chip, without USB, fans and the supply's loss",
        interval_ms=_INTERVAL_MS,
        read_watts=read_watts,
    )


def read_watts() -> float | None:
    """Ask the chip once."""
    return parse_watts(raspberry.vcgencmd("pmic_read_adc"))


def parse_watts(text: str) -> float | None:
    """Add up volts times amperes of the rails that tell both; None where there is no such rail."""
    rails: dict[str, dict[str, float]] = {}
    for name, unit, value in _LINE.findall(text):
        rails.setdefault(name, {})[unit] = float(value)
    powers = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == 2]
    return sum(powers) if powers else None
