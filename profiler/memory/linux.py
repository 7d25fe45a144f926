"""Linux: /proc/self/status tells resident parts and the peak, smaps_rollup the proportional and the unique size.

The peak is VmHWM, which belongs to this process alone; getrusage's ru_maxrss is inherited from the parent.
Source: proc(5).
"""

from pathlib import Path

from profiler.record import Memory

_KIB = 1024


def read(proc: Path = Path("/proc/self")) -> Memory:
    """Read the process's figures; a file that cannot be read leaves its figures None."""
    return parse(_text(proc / "status"), _text(proc / "smaps_rollup"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def parse(status: str, smaps_rollup: str) -> Memory:
    """Make the record from the two files' text."""
    held, maps = _kib_lines(status), _kib_lines(smaps_rollup)
    private = [maps[name] for name in ("Private_Clean", "Private_Dirty", "Private_Hugetlb") if name in maps]
    return Memory(
        rss_bytes=held.get("VmRSS"),
        anon_bytes=held.get("RssAnon"),
        file_backed_bytes=held.get("RssFile"),
        pss_bytes=maps.get("Pss"),
        uss_bytes=sum(private) if private else None,
        swap_bytes=held.get("VmSwap"),
        peak_rss_bytes=held.get("VmHWM"),
    )


def _kib_lines(text: str) -> dict[str, int]:
    values = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            values[name] = int(words[0]) * _KIB
    return values
