"""A Raspberry Pi's firmware: is the clock throttled, and was it since boot?

Source: get_throttled in the documentation of vcgencmd (bits 0-3 now, 16-19 since boot); the drivers
raspberrypi-firmware and raspberrypi-hwmon of the Raspberry Pi kernel. The driver's file is missing on a Pi 5 and on
newer kernels, and the kernel clears its bits 16-19 every two seconds; vcgencmd's persist until the next boot.
"""

import re
from pathlib import Path

from profiler.device.os.files import read_int, read_text
from profiler.device.os.programs import TIMED_OUT, output_of, problem_with

_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_BOOT = 16  # bits to the left
_TIMEOUT_S = 2


def throttle_now(root: Path, board: str | None) -> tuple[tuple[str, ...], str | None]:
    """Return the flags that are raised now, and why they cannot be read; that none is raised is another answer.

    Starts vcgencmd, some milliseconds, where the driver has no file.
    """
    bits, problem = _driver_bits(root), None
    if bits is None:
        bits, problem = _firmware_bits(board)
    return _names(bits | _voltage_alarm(root)), problem


def throttle_before(board: str | None) -> tuple[str, ...]:
    """Return the flags that were raised since boot."""
    return _names(_firmware_bits(board)[0] >> _SINCE_BOOT)


def parse_throttled(text: str) -> int | None:
    """Parse "throttled=0x50005" of vcgencmd, or the driver's "50005"; None for anything else."""
    match = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text.strip())
    return int(match[1], 16) if match else None


def vcgencmd(*words: str) -> str:
    """Return the firmware's answer; an empty text without one."""
    return output_of("vcgencmd", *words, timeout_s=_TIMEOUT_S)


def _firmware_bits(board: str | None) -> tuple[int, str | None]:
    # Boards of other makers have no vcgencmd, or another program of that name.
    if not board or "Raspberry Pi" not in board:
        return 0, None
    # One that hangs is waited for once: the next wait would be in the middle of a measurement.
    text = "" if problem_with("vcgencmd") == TIMED_OUT else vcgencmd("get_throttled")
    bits = parse_throttled(text)
    if bits is not None:
        return bits, None
    words = " ".join(text.split())[:60]
    reason = problem_with("vcgencmd") or (f"printed '{words}'" if words else "printed nothing")
    return 0, f"throttling cannot be read: vcgencmd {reason}"


def _driver_bits(root: Path) -> int | None:
    for path in (root / "sys/devices/platform").glob("soc*/soc*:firmware/get_throttled"):
        return parse_throttled(read_text(path) or "")
    return None


def _voltage_alarm(root: Path) -> int:
    """Return bit 0 where the supply was too weak within the last two seconds, the interval of the kernel's checks."""
    for chip in (root / "sys/class/hwmon").glob("hwmon*"):
        if read_text(chip / "name") == "rpi_volt" and read_int(chip / "in0_lcrit_alarm") == 1:
            return 1
    return 0


def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in _FLAGS.items() if bits >> bit & 1)
