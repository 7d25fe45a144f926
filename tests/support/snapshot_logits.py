"""Decode the same tokens from a filled cache, from a snapshot of it, and from a fresh fill: the logits of each.

Usage: python -m tests.support.snapshot_logits FILE.gguf DEPTH OUT.npz

A process of its own, since llama.cpp is in it. OUT holds one array each, steps by vocabulary: `first` (straight after
the fill), `restored` (the snapshot put back after the cache was used for something else), `again` (after that, a second
time), `fresh` (an emptied cache filled anew), and `other` (another text of the same length, which must differ).
"""

import sys
from pathlib import Path

import llama_cpp
import numpy as np

from profiler.engine.llama import LlamaEngine
from tests.support.cells import config

N_STEPS = 24


def main(path: Path, depth: int, target: Path) -> None:
    engine = LlamaEngine()
    run = config(n_depth=depth, n_ctx=depth + 2 * N_STEPS, n_batch=256, n_ubatch=64, n_outputs_max=0, repack=False)
    engine.load(path, run)
    engine.open_context(run)
    chance = np.random.default_rng(5)
    text, other = (list(map(int, chance.integers(3, engine.n_vocab, depth))) for _ in range(2))
    fed = list(map(int, chance.integers(3, engine.n_vocab, N_STEPS)))

    def fill(tokens: list[int]) -> None:
        engine.clear()
        engine.prefill(tokens)
        assert engine.position() == depth

    def steps() -> np.ndarray:
        rows = []
        for token in fed:
            engine.decode(token)
            row = llama_cpp.llama_get_logits_ith(engine._context, -1)
            rows.append(np.ctypeslib.as_array(row, shape=(engine.n_vocab,)).copy())
        return np.stack(rows)

    found = {}
    fill(text)
    snapshot = engine.snapshot()
    found["first"] = steps()
    fill(other)
    found["other"] = steps()
    engine.restore(snapshot)
    assert engine.position() == depth
    found["restored"] = steps()
    engine.restore(snapshot)
    found["again"] = steps()
    fill(text)
    found["fresh"] = steps()
    np.savez(target, n_kv_bytes=engine.buffers().kv_cache_bytes, **found)
    engine.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
