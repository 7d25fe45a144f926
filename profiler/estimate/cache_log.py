"""What llama.cpp's log says of a context's caches: their sizes as planned, also where none is made."""

import re
from collections.abc import Iterable

import msgspec

_MIB = 1024 * 1024
# Source: the constructors of src/llama-kv-cache.cpp and src/llama-memory-recurrent.cpp of the pinned llama.cpp.
_CACHE = re.compile(
    r"^llama_(?:kv_cache|memory_recurrent)\w*: size = +([\d.]+) MiB \( *(\d+) cells, +(\d+) layers.*?"
    r"[KR] \(\w+\): +([\d.]+) MiB, [VS] \(\w+\): +([\d.]+) MiB"
)


class CacheSize(msgspec.Struct, frozen=True, kw_only=True):
    """One cache as llama.cpp told it; a model with sliding windows has two."""

    n_cells: int
    n_layers: int
    n_bytes: int


def caches_of(lines: Iterable[str]) -> tuple[CacheSize, ...]:
    """Read the lines about caches; their sizes are those that they would have. Keys and values are added here, since
    the sum is rounded once more in the log.
    """
    return tuple(
        CacheSize(
            n_cells=int(match[2]), n_layers=int(match[3]), n_bytes=round(_MIB * (float(match[4]) + float(match[5])))
        )
        for line in lines
        if (match := _CACHE.match(line))
    )
