"""The process that times single operations. Run as `python -m profiler.calibration.worker`.

Products of weights are timed for each type at one token and at some, for matrices that a cache holds and for ever more
of them, until they are far beyond each cache. All other nodes are taken from the graphs of a few shapes, at one token
and at a physical batch, and timed alone. Between them, the same product is timed again and again: a device is faster in
one minute than in the next, and each time is set right by what that yardstick took at its own time.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from profiler.calibration.graphs import graph_nodes
from profiler.calibration.steadiness import Steadiness, time_of
from profiler.engine.matmul import MatMul, Weights
from profiler.engine.node_copy import NodeCopies, NodeForm
from profiler.predict.kinds import ATTENTION, is_free, is_of_weights, kind_of, sharing_of, work_of
from profiler.records.calibration import NodeTime, ProductTime, Yardstick
from profiler.records.graph import Node
from quant.base.worker import serve

# The types that files hold, those of the usual levels first.
FIRST_TYPES = ("q8_0", "q4_0", "q4_K", "q6_K", "q5_K", "iq4_nl", "iq4_xs", "f16", "q5_0", "q5_1", "q4_1", "q3_K",
               "q2_K", "bf16", "f32")  # fmt: skip
OTHER_TYPES = ("iq3_s", "iq3_xxs", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s", "tq2_0", "tq1_0", "mxfp4")
_CACHED = ((1024, 256), (1024, 2048), (4096, 512))  # columns and rows
_BATCHED = (((1024, 1024), (8, 64, 512)), ((4096, 512), (512,)))  # likewise, and tokens
_STREAMED = (2048, 2048)
_STREAM_BYTES = (16 << 20, 128 << 20)
_NODE_COPIES, _FEWEST_COPIES = 64, 8  # of a node with one token
_KV_BYTES = 64 << 20  # of all copies of attention: between two tokens, weights drive a layer's cache out of the CPU's


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to time."""

    threads: tuple[int, ...]
    repack: bool
    budget_s: float
    scratch: str


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """What was timed."""

    products: list[ProductTime]
    nodes: list[NodeTime]
    yardsticks: list[Yardstick]


def work_on(job: Job) -> Times:
    """Time everything that the budget allows."""
    ends_s = time.monotonic() + job.budget_s
    products: list[tuple[ProductTime, float]] = []
    nodes: list[tuple[NodeTime, float]] = []
    steadiness = Steadiness()
    repacked = {name for name in (*FIRST_TYPES, *OTHER_TYPES) if job.repack and _is_repacked(name)}
    steps: list[Callable[[], None]] = [
        *(partial(_add, products, _products, name, name in repacked, job, steadiness) for name in FIRST_TYPES),
        partial(_add, nodes, _nodes, job, steadiness),
        *(partial(_add, products, _products, name, name in repacked, job, steadiness) for name in OTHER_TYPES),
        *(
            partial(_add, products, _products, name, False, job, steadiness)
            for name in (*FIRST_TYPES, *OTHER_TYPES)
            if name in repacked
        ),
    ]
    for step in steps:
        if time.monotonic() < ends_s:
            step()
    steadiness.close()
    return Times(
        products=[steadiness.set_right(*each) for each in products],
        nodes=[steadiness.set_right(*each) for each in nodes],
        yardsticks=steadiness.found,
    )


def _add(found: list[Any], measure: Callable[..., Iterator[Any]], *arguments: Any) -> None:
    found.extend(measure(*arguments))


def _products(type_name: str, repack: bool, job: Job, steadiness: Steadiness) -> Iterator[tuple[ProductTime, float]]:
    """Time a type's products, repacked or in the file's layout; each with the yardstick's time."""
    one = Weights(type_name, *_STREAMED).n_bytes
    counts = [max(1, n_bytes // one) for n_bytes in _STREAM_BYTES]
    uses = [
        *((Weights(type_name, *size), [(1, 1)]) for size in _CACHED),
        *((Weights(type_name, *size), [(n, 1) for n in batches]) for size, batches in _BATCHED),
        (Weights(type_name, *_STREAMED, counts[-1]), [(1, n) for n in counts]),
    ]
    for weights, numbers in uses:
        for timed in _timed(weights, repack, job.threads, numbers):
            yield timed, steadiness.now_ns(timed.n_threads)


def _is_repacked(type_name: str) -> bool:
    with closing(MatMul(Weights(type_name, *_CACHED[0]))) as product:
        return product.buffer != "CPU"


def _timed(
    weights: Weights, repack: bool, threads: Sequence[int], uses: list[tuple[int, int]]
) -> Iterator[ProductTime]:
    with closing(MatMul(weights, repack=repack)) as product:
        for n_tokens, n_matrices in uses:
            product.use(n_tokens, n_matrices)
            for n_threads in threads:
                product.set_threads(n_threads)
                yield ProductTime(
                    type=weights.type_name,
                    repacked=product.buffer != "CPU",
                    n_cols=weights.n_cols,
                    n_rows=weights.n_rows,
                    n_matrices=n_matrices,
                    n_matrix_bytes=weights.n_bytes // weights.n_matrices,
                    n_tokens=n_tokens,
                    n_threads=n_threads,
                    ns=time_of(product.run) / n_matrices,
                )


def _nodes(job: Job, steadiness: Steadiness) -> Iterator[tuple[NodeTime, float]]:
    done: set[tuple[str, int, NodeForm]] = set()
    for n_tokens, node, form in graph_nodes(Path(job.scratch)):
        key = (kind_of(node), n_tokens, form)
        if is_free(node) or is_of_weights(node) or key in done:
            continue
        done.add(key)
        work = work_of(node)
        if node.op == ATTENTION:  # of what is not masked
            n_positions = node.sources[1].shape[1]
            work = round(work * (n_positions - (n_tokens - 1) / 2) / n_positions)
        with closing(NodeCopies(form, _n_copies(node, n_tokens))) as copies:
            for n_threads in job.threads:
                copies.set_threads(n_threads)
                ns = time_of(copies.run) / copies.n_copies
                yardstick_ns = steadiness.now_ns(n_threads)
                time_ = NodeTime(
                    kind=key[0],
                    n_tokens=n_tokens,
                    work=work,
                    n_threads=n_threads,
                    n_sharing=sharing_of(node),
                    ns=ns,
                )
                yield time_, yardstick_ns


def _n_copies(node: Node, n_tokens: int) -> int:
    """Return how often a node is computed in a pass: attention to more caches than the processor's cache holds."""
    if n_tokens > 1:
        return 1  # takes long enough
    if node.op != ATTENTION:
        return _NODE_COPIES
    n_bytes = sum(each.n_bytes for each in node.sources[1:3])
    return max(_FEWEST_COPIES, min(_NODE_COPIES * 4, _KV_BYTES // n_bytes))


if __name__ == "__main__":
    serve(Job, work_on)
