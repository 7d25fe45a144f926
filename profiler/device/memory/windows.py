"""Windows: the working set is the resident size; private bytes include pages that may be swapped out."""

import psutil

from profiler.records.round import Memory


def read() -> Memory:
    """Return the process's figures from psutil."""
    found = psutil.Process().memory_info()
    return Memory(rss_bytes=found.rss, peak_rss_bytes=getattr(found, "peak_wset", None))
