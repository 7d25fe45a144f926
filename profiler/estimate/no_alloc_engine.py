"""A model opened without its weights: llama.cpp reads the header, plans every buffer and makes none of them.

The file may be all header. It must not be mapped: mmap and auto end the process.
"""

from collections import deque
from collections.abc import Iterable

from profiler.engine.llama import LlamaEngine
from profiler.estimate.cache_log import CacheSize, caches_of
from profiler.records.config import RunConfig


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
