"""A second context on a model that is open already, whose graph's nodes are computed and timed one by one.

llama.cpp calls `cb_eval` before each node (ask) and after it (done). A node that is asked for ends a graph of its own;
one that is declined is computed together with the next. So what ggml computes in one go can be left together.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from profiler.engine import EngineError
from profiler.engine.ggml import attach_threadpools
from profiler.engine.llama import LlamaEngine
from profiler.engine.nodes import NodeReader
from profiler.records.config import RunConfig
from profiler.records.graph import Node

# ggml_backend_sched_eval_callback, ggml-backend.h
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)


class Observer:
    """The callback. It does as little as it can: what it takes is taken between two nodes, ten thousand times."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._reader = NodeReader()
        self._clock = clock
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.nodes: list[Node] = []
        self.problem: EngineError | None = None
        self._alone: Iterator[bool] = iter(())
        self.timing = False

    def callback(self) -> Any:
        """Give the function for llama.cpp; it must be kept as long as the context lives."""
        now = self._clock

        def on_node(node: int, ask: bool, _data: object) -> bool:
            if not self.timing:
                return self._describe(node, ask)
            if not ask:
                self.ends.append(now())
                return True
            if next(self._alone, True):
                self.starts.append(now())
                return True
            return False

        return _CALLBACK(on_node)

    def begin(self, alone: Sequence[bool]) -> None:
        """Time from here on."""
        self.starts, self.ends, self._alone, self.timing = [], [], iter(alone), True

    def _describe(self, node: int, ask: bool) -> bool:
        if ask and self.problem is None:
            try:
                self.nodes.append(self._reader.read(node))
            except EngineError as error:
                self.problem = error
        return True


class ObservedEngine(LlamaEngine):
    """Shares the model and the thread pools of a plain engine, which must outlive it."""

    def __init__(self, plain: LlamaEngine, clock: Callable[[], int]) -> None:
        self.__dict__.update(plain.__dict__)
        self._plain = plain
        self._observer = Observer(clock)
        self.on_node = self._observer.callback()

    def open_context(self, config: RunConfig) -> None:
        """Make the observed context on the plain one's thread pools."""
        super().open_context(config)
        for pool in self._pools:
            pool.free()
        self._pools = self._plain._pools
        decode, *prefill = self._pools
        attach_threadpools(self._context, decode, prefill[0] if prefill else None)

    def describe(self, call: Callable[[], None]) -> list[Node]:
        """Do a call and give the nodes that were computed in it, in their order.

        Raises:
            EngineError: the nodes cannot be read, or the call failed.
        """
        seen = self._observer
        seen.nodes, seen.problem, seen.timing = [], None, False
        call()
        if seen.problem is not None:
            raise seen.problem
        return seen.nodes

    def time(self, call: Callable[[], None], alone: Sequence[bool]) -> tuple[list[int], list[int]]:
        """Do a call and give when each group of nodes began and when it was done.

        `alone` has a place for each node: False leaves it together with the next one.

        Raises:
            EngineError: the graph has other nodes than it had.
        """
        seen = self._observer
        seen.begin(alone)
        call()
        seen.timing = False
        if not len(seen.starts) == len(seen.ends) == sum(alone):
            raise EngineError("decode", "llama.cpp built a graph of other nodes than in the run before")
        return seen.starts, seen.ends

    def close(self) -> None:
        """Free the observed context alone."""
        self._pools, self._model = [], None
        super().close()
