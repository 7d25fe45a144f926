"""macOS: the power of the chip as powermetrics reports it, which only root may run.

Source: powermetrics(1). "Combined Power (CPU + GPU + ANE)" is Apple's estimate for the chip without its memory.
"""

import re

from profiler.device.energy.meter import Meter, NoMeter
from profiler.device.os.programs import output_of

_INTERVAL_MS = 500  # each reading averages over this time
_TIMEOUT_S = 10


def find() -> Meter | NoMeter:
    """Return powermetrics where sudo starts it without a password, else the reason."""
    if read_watts(interval_ms=20) is None:
        return NoMeter("powermetrics needs root, and sudo needs a password; run sudo -v just before")
    return Meter(
        source="powermetrics",
        covers="CPU, GPU and neural engine as Apple estimates them, without memory",
        interval_ms=_INTERVAL_MS,
        read_watts=read_watts,
    )


def read_watts(interval_ms: int = _INTERVAL_MS) -> float | None:
    """Return the average over the interval; None where it is not permitted."""
    command = ["/usr/bin/sudo", "-n", "/usr/bin/powermetrics", "-n", "1", "-i", str(interval_ms)]
    return parse_watts(output_of(*command, "--samplers", "cpu_power", timeout_s=_TIMEOUT_S))


def parse_watts(text: str) -> float | None:
    """Parse the combined power in the output of `powermetrics --samplers cpu_power`."""
    found = re.search(r"^Combined Power \([^)]*\):\s*(\d{1,9})\s*mW", text, re.MULTILINE)
    return int(found[1]) / 1000 if found else None
