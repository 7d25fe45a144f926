"""Linux: resident sizes and the peak from /proc/self/status, proportional and unique size from smaps_rollup.

smaps shows how much of the model's file is resident through its mapping. A file on a tmpfs counts as shared memory.

The peak is VmHWM, which belongs to this process alone; getrusage's ru_maxrss is inherited from the parent.
Source: proc(5).
"""

import re
from collections.abc import Collection
from pathlib import Path

from profiler.device.os.files import read_text, sizes_of
from profiler.records.round import Memory

_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ [0-9a-f]+ \S+ \d+\s*(.*)")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def read(proc: Path = Path("/proc/self"), model: Path | None = None) -> Memory:
    """Return the process's figures; those of a file that cannot be read are None."""
    status, rollup = read_text(proc / "status") or "", read_text(proc / "smaps_rollup") or ""
    if model is None:
        return parse(status, rollup)
    return parse(status, rollup, read_text(proc / "smaps") or "", files_of(model))


def files_of(model: Path) -> frozenset[str]:
    """Return the paths of a model's file and its other shards as the kernel writes them, with links resolved."""
    shards = [model]
    if match := _SHARD.search(model.name):
        stem = model.name[: match.start()]
        shards += [each for each in model.parent.iterdir() if _SHARD.sub("", each.name) == stem]
    # The kernel writes a newline in a name as an octal number.
    return frozenset(str(each.resolve()).replace("\n", "\\012") for each in shards)


def parse(status: str, smaps_rollup: str, smaps: str = "", model: Collection[str] = ()) -> Memory:
    """Parse the files' text; `model` names the files whose mappings are counted separately."""
    held, maps = sizes_of(status), sizes_of(smaps_rollup)
    private = [maps[name] for name in ("Private_Clean", "Private_Dirty", "Private_Hugetlb") if name in maps]
    return Memory(
        rss_bytes=held.get("VmRSS"),
        anon_bytes=held.get("RssAnon"),
        file_backed_bytes=held["RssFile"] + held.get("RssShmem", 0) if "RssFile" in held else None,
        pss_bytes=maps.get("Pss"),
        uss_bytes=sum(private) if private else None,
        swap_bytes=held.get("VmSwap"),
        peak_rss_bytes=held.get("VmHWM"),
        huge_bytes=maps.get("AnonHugePages"),
        mapped_bytes=_mapped(smaps, model) if smaps else None,
    )


def _mapped(smaps: str, model: Collection[str]) -> int:
    total, inside = 0, False
    for line in smaps.splitlines():
        if match := _MAPPING.fullmatch(line):
            inside = match[1] in model
        elif inside and line.startswith("Rss:"):
            total += sizes_of(line)["Rss"]
    return total
