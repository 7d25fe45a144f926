"""A model opened without its weights: llama.cpp reads the header, plans every buffer and allocates none.

The file may be header only. It must not be mapped: load modes mmap and auto abort the process.
"""

from collections import deque
from collections.abc import Iterable

from profiler.engine.ggml import graph_of_context
from profiler.engine.llama import LlamaEngine
from profiler.engine.log import CONTINUED, DEBUG, INFO, CacheSize, caches_of
from profiler.engine.node_copy import NodeForm, form_of, pointers_of
from profiler.engine.nodes import NodeReader
from profiler.estimate.touched import touched_bytes
from profiler.records.config import RunConfig
from profiler.records.graph import Node


class NoAllocEngine(LlamaEngine):
    """Reports the buffers that a context would have. It cannot compute."""

    no_alloc = True

    def __init__(self) -> None:
        self._level = INFO
        super().__init__()
        # A layer may log lines, so the default number of kept lines might not be enough.
        self._log.lines = deque()

    def _hear(self, level: int, text: bytes) -> None:
        """Skip the thousands of lines on single tensors and layers: nothing is read from them."""
        self._level = self._level if level == CONTINUED else level
        if self._level > DEBUG:
            super()._hear(level, text)

    def open_context(self, config: RunConfig) -> None:
        """Make a context, instead of one that was made before; only its part of the log is kept."""
        self.close_context()
        self._log.lines.clear()
        super().open_context(config)

    @property
    def log_lines(self) -> Iterable[str]:
        """What llama.cpp logged while it made the context."""
        return self._log.lines

    def caches(self) -> tuple[CacheSize, ...]:
        """Return the caches of the context."""
        return caches_of(self._log.lines)

    def nodes(self, n_tokens: int) -> list[Node]:
        """Return the nodes of the graph of so many tokens; none where this build of llama.cpp does not return it."""
        return list(map(NodeReader().read, self._pointers(n_tokens)))

    def node_forms(self, n_tokens: int) -> list[tuple[Node, NodeForm]]:
        """Return these nodes, each with all that its time depends on."""
        reader = NodeReader()
        return [(reader.read(each), form_of(each)) for each in self._pointers(n_tokens)]

    def _pointers(self, n_tokens: int) -> list[int]:
        graph = graph_of_context(self._context, n_tokens, 1)
        return [] if graph is None else pointers_of(graph)

    def touched(self) -> tuple[int, int | None]:
        """Return the tokens of the largest batch that the load computes, and what it uses of the compute buffer.

        None where this build of llama.cpp does not plan it.
        """
        config = self._config
        assert config is not None
        n_largest = min(config.n_ubatch, config.n_batch, config.n_ctx)
        n_tokens = min(n_largest, config.n_prompt or n_largest)
        n_outputs = min(n_largest, config.n_outputs_max or n_largest)
        n_bytes = touched_bytes(self._context, n_largest=n_largest, n_outputs=n_outputs, n_tokens=n_tokens)
        return n_tokens, n_bytes
