"""Windows: the working set is what is resident; private bytes count pages that may be swapped out."""

import psutil

from profiler.records.record import Memory


def read() -> Memory:
    """Read the process's figures through psutil."""
    found = psutil.Process().memory_info()
    return Memory(rss_bytes=found.rss, peak_rss_bytes=getattr(found, "peak_wset", None))
