"""A Raspberry Pi's firmware: is the clock held down, and was it since the start?

Source: get_throttled in the documentation of vcgencmd (bits 0-3 now, 16-19 since the start); the drivers
raspberrypi-firmware and raspberrypi-hwmon of the Raspberry Pi kernel. The driver's file is missing on a Pi 5 and on
newer kernels, and the kernel clears its bits 16-19 every two seconds; vcgencmd's stay until the next start.
"""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from profiler.device.os.files import read_int, read_text

_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_START = 16
_TIMEOUT_S = 2


def throttle_now(root: Path, board: str | None) -> tuple[str, ...]:
    """Name the flags that are raised; starts vcgencmd, some milliseconds, where the driver has no file."""
    bits = _driver_bits(root)
    if bits is None:
        bits = _firmware_bits(board)
    return _names(bits | _voltage_alarm(root))


def throttle_before(board: str | None) -> tuple[str, ...]:
    """Name the flags that were raised since the start."""
    return _names(_firmware_bits(board) >> _SINCE_START)


def parse_throttled(text: str) -> int | None:
    """Read "throttled=0x50005" of vcgencmd, or the driver's "50005"; None for anything else."""
    match = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text.strip())
    return int(match[1], 16) if match else None


def vcgencmd(*words: str) -> str:
    """Ask the firmware; no answer is an empty text."""
    program = _program()
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603  fixed words
            [program, *words],
            stdin=subprocess.DEVNULL,  # a worker's own holds its job
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


@cache
def _program() -> str | None:
    return shutil.which("vcgencmd")


def _firmware_bits(board: str | None) -> int:
    # Boards of other makers have no vcgencmd, or one that does something else.
    return parse_throttled(vcgencmd("get_throttled")) or 0 if board and "Raspberry Pi" in board else 0


def _driver_bits(root: Path) -> int | None:
    for path in (root / "sys/devices/platform").glob("soc*/soc*:firmware/get_throttled"):
        return parse_throttled(read_text(path) or "")
    return None


def _voltage_alarm(root: Path) -> int:
    """Give bit 0 when the supply was too weak during the last two seconds, which is how often the kernel looks."""
    for chip in (root / "sys/class/hwmon").glob("hwmon*"):
        if read_text(chip / "name") == "rpi_volt" and read_int(chip / "in0_lcrit_alarm") == 1:
            return 1
    return 0


def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in _FLAGS.items() if bits >> bit & 1)
