"""A model opened without its weights: llama.cpp reads the header, plans every buffer and allocates none.

The file may be header only. It must not be mapped: load modes mmap and auto abort the process.
"""

from collections import deque
from collections.abc import Iterable

from profiler.engine.llama import LlamaEngine
from profiler.engine.log import CacheSize, caches_of
from profiler.estimate.touched import touched_bytes
from profiler.records.config import RunConfig


class NoAllocEngine(LlamaEngine):
    """Reports the buffers that a context would have. It cannot compute."""

    no_alloc = True

    def __init__(self) -> None:
        super().__init__()
        # Every tensor logs a line, so the default number of kept lines would not be enough.
        self._log.lines = deque()

    def open_context(self, config: RunConfig) -> None:
        """Make the context; only its part of the log is kept."""
        self._log.lines.clear()
        super().open_context(config)

    @property
    def log_lines(self) -> Iterable[str]:
        """What llama.cpp logged while it made the context."""
        return self._log.lines

    def caches(self) -> tuple[CacheSize, ...]:
        """Return the caches of the context."""
        return caches_of(self._log.lines)

    def touched(self) -> tuple[int, int]:
        """Return the tokens of the largest batch that the load computes, and what it uses of the compute buffer."""
        config = self._config
        assert config is not None
        n_largest = min(config.n_ubatch, config.n_batch, config.n_ctx)
        n_tokens = min(n_largest, config.n_prompt or n_largest)
        n_outputs = min(n_largest, config.n_outputs_max or n_largest)
        n_bytes = touched_bytes(self._context, n_largest=n_largest, n_outputs=n_outputs, n_tokens=n_tokens)
        return n_tokens, n_bytes
