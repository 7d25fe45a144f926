"""Bytes moved and operations computed by a node, from the shapes alone.

Every operand counts once, read or written: small operands cost less where a cache holds them, and what a matrix product
reads twice is not counted. Operations are those of matrix products, 2 per multiply-add.
Sources of a node and their order: ggml/src/ggml.c of the pinned llama.cpp.
"""

from profiler.records.graph import Node, Tensor

NOOPS = frozenset({"RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE", "NONE"})


def bytes_moved(node: Node) -> int:
    """Return the bytes that a node reads and writes."""
    if node.op in NOOPS:
        return 0
    written = node.result.n_bytes
    if node.op == "GET_ROWS":
        # Only the selected rows of the table are read.
        table, ids = node.sources[:2]
        return ids.n_elements * table.row_bytes + ids.n_bytes + written
    if node.op == "SET_ROWS":
        # The result is the whole table, of which only some rows are written.
        rows, ids = node.sources[:2]
        return rows.n_bytes + ids.n_bytes + _as_type(rows, node.result)
    if node.op == "CPY":
        return node.sources[0].n_bytes + written
    if node.op == "MUL_MAT_ID":
        experts, activations, ids = node.sources[:3]
        n_experts = experts.shape[2]
        used = min(ids.n_elements, n_experts)
        return experts.n_bytes * used // n_experts + activations.n_bytes + ids.n_bytes + written
    return sum(tensor.n_bytes for tensor in _distinct(node.sources)) + written


def flops(node: Node) -> int:
    """Return the operations of a matrix product; 0 for all other nodes."""
    if node.op in ("MUL_MAT", "MUL_MAT_ID"):
        return 2 * node.sources[0].shape[0] * node.result.n_elements
    if node.op == "FLASH_ATTN_EXT":
        query, keys = node.sources[:2]
        depth_k, n_queries, n_heads, n_sequences = query.shape
        # Masked positions are counted too.
        return 2 * n_queries * n_heads * n_sequences * keys.shape[1] * (depth_k + node.result.shape[0])
    return 0


def _as_type(values: Tensor, table: Tensor) -> int:
    return values.n_elements * table.block_bytes // table.block_elements


def _distinct(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return each operand once: squaring reads its one operand once."""
    return tuple(dict.fromkeys(tensors))
