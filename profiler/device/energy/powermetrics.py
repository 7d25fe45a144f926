"""macOS: the power of the chip as powermetrics tells it, which only root may ask.

Source: powermetrics(1). "Combined Power (CPU + GPU + ANE)" is Apple's estimate for the chip without its memory.
"""

import re
import subprocess

from profiler.device.energy.source import Meter, NoMeter

_INTERVAL_MS = 500  # each look averages over this time
_TIMEOUT_S = 10


def find() -> Meter | NoMeter:
    """Give powermetrics where sudo starts it without a password."""
    if read_watts(interval_ms=20) is None:
        return NoMeter("powermetrics needs root, and sudo asks for a password; run sudo -v just before")
    return Meter(
        source="powermetrics",
        covers="CPU, GPU and neural engine as Apple estimates them, without memory",
        interval_ms=_INTERVAL_MS,
        read_watts=read_watts,
    )


def read_watts(interval_ms: int = _INTERVAL_MS) -> float | None:
    """Average over the interval; None where it is not permitted."""
    command = ["/usr/bin/sudo", "-n", "/usr/bin/powermetrics", "-n", "1", "-i", str(interval_ms)]
    try:
        done = subprocess.run(  # noqa: S603  fixed words
            [*command, "--samplers", "cpu_power"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_watts(done.stdout)


def parse_watts(text: str) -> float | None:
    """Read the combined power in the output of `powermetrics --samplers cpu_power`."""
    found = re.search(r"^Combined Power \([^)]*\):\s*(\d{1,9})\s*mW", text, re.MULTILINE)
    return int(found[1]) / 1000 if found else None
