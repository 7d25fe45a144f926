"""A model opened without its weights: llama.cpp reads the header, plans every buffer and makes none of them.

The file may be all header. It must not be mapped: mmap and auto end the process.
"""

import re
from collections import deque
from collections.abc import Iterable

import msgspec

from profiler.cell import RunConfig
from profiler.engine.llama import LlamaEngine

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


class HollowEngine(LlamaEngine):
    """Tells the buffers of a context that has none. Nothing can be computed with it."""

    no_alloc = True

    def __init__(self) -> None:
        super().__init__()
        # Every tensor has a line; the last ones alone would not do.
        self._log.lines = deque()

    def open_context(self, config: RunConfig) -> None:
        """Make the context; what the log tells of it alone is kept."""
        self._log.lines.clear()
        super().open_context(config)

    @property
    def log_lines(self) -> Iterable[str]:
        """Give what llama.cpp logged since the context was begun."""
        return self._log.lines

    def caches(self) -> tuple[CacheSize, ...]:
        """Give the caches of the context."""
        return caches_of(self._log.lines)


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
