"""Which nodes of a graph cost alike, and by what their cost grows."""

from profiler.predict.cost import NOOPS, bytes_moved, flops
from profiler.records.graph import Node

_BY_TYPE = {"CPY", "CONT", "DUP", "SET_ROWS", "MUL_MAT", "MUL_MAT_ID"}
ATTENTION = "FLASH_ATTN_EXT"
_HEAD_SIZES = (64, 128, 256, 512)


def is_free(node: Node) -> bool:
    """Return whether nothing is computed."""
    return node.op in NOOPS


def is_of_weights(node: Node) -> bool:
    """Return whether a node multiplies with a matrix of the file."""
    if node.op not in ("MUL_MAT", "MUL_MAT_ID"):
        return False
    weights = node.sources[0]
    return weights.op == "NONE" and weights.name.endswith(".weight")


def kind_of(node: Node) -> str:
    """Return the name under which a node's time is looked up."""
    if node.op == ATTENTION:
        query, keys, values = node.sources[:3]
        size = next((each for each in _HEAD_SIZES if query.shape[0] <= each), _HEAD_SIZES[-1])
        return f"{node.label} {keys.type}/{values.type} {size}"
    if node.op in _BY_TYPE:
        return f"{node.label} {(node.result if node.op == 'SET_ROWS' else node.sources[0]).type}"
    return node.label


def sharing_of(node: Node) -> float:
    """Return how many query heads of attention share a head of the cache."""
    return node.sources[0].shape[2] / node.sources[1].shape[2] if node.op == ATTENTION else 1.0


def work_of(node: Node) -> int:
    """Return what a node's time grows with: operations of products, bytes moved by all others."""
    return flops(node) or bytes_moved(node)
