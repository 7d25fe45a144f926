"""The memory of the calling process, read by the module of its system."""

import sys
from pathlib import Path

from profiler.records.round import Memory


def read_memory(model: Path | None = None) -> Memory:
    """Return what this process holds now.

    Args:
        model: a model's file, whose resident pages are counted separately on Linux.
    """
    if sys.platform.startswith("linux"):
        from profiler.device.memory import linux

        return linux.read(model=model)
    if sys.platform == "darwin":
        from profiler.device.memory import darwin

        return darwin.read()
    from profiler.device.memory import windows

    return windows.read()
