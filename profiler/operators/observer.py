"""A second context on a model that is open already, whose graph's nodes are computed and timed one by one.

llama.cpp calls `cb_eval` before each node and after it. A node that the first call accepts ends a graph of its own; one
that it declines is computed together with the next. So what ggml computes in one go can be left together.
"""

from collections.abc import Callable, Iterator, Sequence

from profiler.engine import EngineError
from profiler.engine.ggml import Threadpool
from profiler.engine.llama import LlamaEngine
from profiler.engine.nodes import NodeReader
from profiler.records.config import RunConfig
from profiler.records.graph import Node


class _Observer:
    """The callback. It does as little as possible: its own time falls between two nodes, ten thousand times."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._reader = NodeReader()
        self._clock = clock
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.nodes: list[Node] = []
        self.problem: EngineError | None = None
        self._ends_group: Iterator[bool] = iter(())
        self.timing = False

    def callback(self) -> Callable[[int, bool, object], bool]:
        """Return the function to be called around every node."""
        now = self._clock

        def on_node(tensor: int, before: bool, _data: object) -> bool:
            if not self.timing:
                return self._describe(tensor, before)
            if not before:
                self.ends.append(now())
                return True
            if next(self._ends_group, True):
                self.starts.append(now())
                return True
            return False

        return on_node

    def begin_timing(self, ends_group: Sequence[bool]) -> None:
        """Time from here on."""
        self.starts, self.ends, self._ends_group, self.timing = [], [], iter(ends_group), True

    def _describe(self, tensor: int, before: bool) -> bool:
        if before and self.problem is None:
            try:
                self.nodes.append(self._reader.read(tensor))
            except EngineError as error:
                self.problem = error
        return True


class ObservedEngine(LlamaEngine):
    """Shares the model and the thread pools of a plain engine, which must outlive it."""

    def __init__(self, plain: LlamaEngine, clock: Callable[[], int]) -> None:
        self.__dict__.update(plain.__dict__)
        self._plain = plain
        self._observer = _Observer(clock)
        self.observe_nodes(self._observer.callback())

    def _threadpools(self, _config: RunConfig) -> list[Threadpool]:
        return self._plain._pools

    def describe(self, call: Callable[[], None]) -> list[Node]:
        """Do a call and return the nodes that were computed in it, in their order.

        Raises:
            EngineError: the nodes cannot be read, or the call failed.
        """
        observer = self._observer
        observer.nodes, observer.problem, observer.timing = [], None, False
        call()
        if observer.problem is not None:
            raise observer.problem
        return observer.nodes

    def time(self, call: Callable[[], None], ends_group: Sequence[bool]) -> tuple[list[int], list[int]]:
        """Do a call and return when each group of nodes began and when it ended.

        Args:
            ends_group: for each node; False computes it together with the next one.

        Raises:
            EngineError: the graph has other nodes than before.
        """
        observer = self._observer
        observer.begin_timing(ends_group)
        call()
        observer.timing = False
        if not len(observer.starts) == len(observer.ends) == sum(ends_group):
            raise EngineError("decode", "llama.cpp built a graph of other nodes than in the run before")
        return observer.starts, observer.ends

    def close(self) -> None:
        """Free the observed context alone."""
        self._pools, self._model = [], None
        super().close()
