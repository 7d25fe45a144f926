"""From nodes to the groups that are timed: two nodes that ggml fuses are one group.

Source: ggml_cpu_try_fuse_ops and ggml_get_n_tasks in ggml/src/ggml-cpu/ggml-cpu.c of the pinned llama.cpp.
"""

from collections.abc import Sequence

from profiler.operators.classify import NO_PART, part_of
from profiler.operators.records import Group
from profiler.predict.cost import NOOPS, bytes_moved, flops
from profiler.records.graph import Node

# Computed in one thread, whatever -t is.
_ONE_THREAD = NOOPS | {"GET_ROWS", "SUB", "SQR", "SQRT", "LOG", "SIN", "COS", "SUM", "SUM_ROWS", "MEAN", "ARGMAX"}
_ONE_THREAD |= {"SCALE", "SET", "DIAG", "REPEAT", "CLAMP", "SET_ROWS"}
# Small in a decode step, and computed in all threads.
_SMALL = frozenset({"ADD", "MUL", "RMS_NORM", "RMS_NORM+MUL", "NORM", "ROPE", "SWIGLU", "GEGLU", "REGLU"})


def ends_of_groups(nodes: Sequence[Node]) -> list[bool]:
    """Return for each node whether it ends a group; False computes it together with the next one."""
    return [not _fuses(node, nodes[index + 1 : index + 2]) for index, node in enumerate(nodes)]


def _fuses(node: Node, following: Sequence[Node]) -> bool:
    return (
        node.op == "RMS_NORM"
        and bool(following)
        and following[0].op == "MUL"
        and any(source == node.result for source in following[0].sources)
    )


def groups_of(nodes: Sequence[Node]) -> list[Group]:
    """Describe the groups of a graph in its order."""
    groups = []
    part = NO_PART
    fused: Node | None = None  # the first of two nodes
    for node, ends in zip(nodes, ends_of_groups(nodes), strict=True):
        part = part_of(node, part)
        if not ends:
            fused = node
            continue
        n_bytes, op = bytes_moved(node), node.label
        if fused is not None:
            # The intermediate result never leaves the cache.
            n_bytes += bytes_moved(fused) - 2 * fused.result.n_bytes
            op, fused = f"{fused.label}+{op}", None
        groups.append(
            Group(
                op=op,
                name=node.result.name,
                weight=part.weight.name if part.weight else None,
                weight_type=part.weight.type if part.weight else None,
                layer=part.layer,
                module=part.module,
                n_bytes=n_bytes,
                n_flops=flops(node),
                is_noop=node.op in NOOPS,
                is_threaded=node.op not in _ONE_THREAD,
            )
        )
    return groups


def joins_of(groups: Sequence[Group]) -> list[tuple[int, int]]:
    """Return the indices of pairs of small neighbours that overlap no other pair; no-ops may be between them."""
    pairs = []
    first: int | None = None
    for index, group in enumerate(groups):
        if group.is_noop:
            continue
        if group.op not in _SMALL:
            first = None
        elif first is None:
            first = index
        else:
            pairs.append((first, index))
            first = None
    return pairs


def ends_when_joined(ends_group: Sequence[bool], pairs: Sequence[tuple[int, int]]) -> list[bool]:
    """Remove the ends of groups within the pairs."""
    inner = {index for first, last in pairs for index in range(first, last)}
    joined, index = [], 0
    for ends in ends_group:
        joined.append(ends and index not in inner)
        index += ends
    return joined
