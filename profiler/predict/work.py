"""From the nodes of a graph to its work at a level."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from profiler.predict.kinds import ATTENTION, is_free, is_of_weights, kind_of, sharing_of, work_of
from profiler.predict.records import GraphWork, NodeWork, ProductWork
from profiler.records.graph import Node


class Stored(NamedTuple):
    """How a level stores a tensor: its type, all its bytes, and whether llama.cpp repacks them."""

    type: str
    n_bytes: int
    repacked: bool


def graph_work(nodes: Sequence[Node], n_tokens: int, stored: Callable[[str], Stored]) -> GraphWork:
    """Count the nodes of a graph of so many tokens.

    Args:
        stored: by the tensor's name.
    """
    products: Counter[ProductWork] = Counter()
    others: Counter[NodeWork] = Counter()
    for node in nodes:
        if is_of_weights(node):
            products[_product_of(node, stored(node.sources[0].name))] += 1
        elif not is_free(node):
            n_positions = node.sources[1].shape[1] if node.op == ATTENTION else 0
            work = NodeWork(kind=kind_of(node), work=work_of(node), n_sharing=sharing_of(node), n_positions=n_positions)
            others[work] += 1
    return GraphWork(n_tokens=n_tokens, products=tuple(products.items()), nodes=tuple(others.items()))


def _product_of(node: Node, stored: Stored) -> ProductWork:
    matrix = node.sources[0]
    n_cols, n_rows, *_ = matrix.shape
    n_there = matrix.shape[2] * matrix.shape[3]
    if node.op == "MUL_MAT_ID":
        n_vectors = node.sources[2].n_elements
        n_used = min(n_there, n_vectors)  # many tokens use all of them
    else:
        n_vectors, n_used = node.sources[1].n_elements // node.sources[1].shape[0], n_there
    return ProductWork(
        type=stored.type,
        repacked=stored.repacked,
        n_cols=n_cols,
        n_rows=n_rows,
        n_bytes=stored.n_bytes // n_there,
        n_matrices=n_used,
        n_tokens=max(n_vectors / n_used, 1.0),
    )
