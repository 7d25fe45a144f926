"""The KV cache at the start of every repetition, empty or filled to a depth, and a check of what it holds."""

from profiler.engine import Engine, EngineError, Snapshot


class StartState:
    """An empty cache, or the same snapshot of a filled one."""

    def __init__(self, engine: Engine, deep: list[int]) -> None:
        self._depth = len(deep)
        self._snapshot: Snapshot | None = None
        if deep:
            fill(engine, deep, 0)
            self._snapshot = engine.snapshot()

    def restore(self, engine: Engine) -> None:
        """Restore it in an engine: the one that filled the cache, or another context on the same model.

        Raises:
            EngineError: the cache does not hold what it should.
        """
        if self._snapshot is None:
            engine.clear()
        else:
            engine.restore(self._snapshot)
        expect(engine, self._depth)


def fill(engine: Engine, tokens: list[int], depth: int) -> None:
    """Prefill untimed; at depth 0 the cache is emptied first.

    Raises:
        EngineError: the cache does not hold what it should.
    """
    if depth == 0:
        engine.clear()
    if tokens:
        engine.prefill(tokens)
        expect(engine, depth + len(tokens))


def expect(engine: Engine, n_tokens: int) -> None:
    """Check that the cache holds `n_tokens`.

    Raises:
        EngineError: it does not.
    """
    if (found := engine.position()) != n_tokens:
        raise EngineError("decode", f"the cache holds {found} tokens, expected {n_tokens}")
