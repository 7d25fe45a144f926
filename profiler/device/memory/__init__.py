"""The calling process's memory: one function, one type, a reader per system."""

import sys
from pathlib import Path

from profiler.records.record import Memory


def read_memory(model: Path | None = None) -> Memory:
    """Read what this process holds now, and of the model's file where given; None where the system does not tell."""
    if sys.platform.startswith("linux"):
        from profiler.device.memory import linux

        return linux.read(model=model)
    if sys.platform == "darwin":
        from profiler.device.memory import darwin

        return darwin.read()
    from profiler.device.memory import windows

    return windows.read()
