"""From nodes to what is timed in one go: where ggml computes two nodes as one, they are observed as one.

Source: ggml_cpu_try_fuse_ops and ggml_get_n_tasks in ggml/src/ggml-cpu/ggml-cpu.c of the pinned llama.cpp.
"""

from collections.abc import Sequence

from profiler.operators.classify import NOWHERE, place_of
from profiler.operators.cost import NOOPS, bytes_moved, flops
from profiler.operators.records import Group
from profiler.records.graph import Node

# Computed by one thread, whatever -t says.
_ONE_THREAD = NOOPS | {"GET_ROWS", "SUB", "SQR", "SQRT", "LOG", "SIN", "COS", "SUM", "SUM_ROWS", "MEAN", "ARGMAX"}
_ONE_THREAD |= {"SCALE", "SET", "DIAG", "REPEAT", "CLAMP", "SET_ROWS"}
# Small in a decode step, and computed by all threads.
_SMALL = frozenset({"ADD", "MUL", "RMS_NORM", "RMS_NORM+MUL", "NORM", "ROPE", "SWIGLU", "GEGLU", "REGLU"})


def alone(nodes: Sequence[Node]) -> list[bool]:
    """Say for each node whether it ends a group; False leaves it together with the next one."""
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
    place = NOWHERE
    pending: Node | None = None
    for node, ends in zip(nodes, alone(nodes), strict=True):
        place = place_of(node, place)
        if not ends:
            pending = node
            continue
        n_bytes, op = bytes_moved(node), node.label
        if pending is not None:
            # What lies between the two never leaves the cache.
            n_bytes += bytes_moved(pending) - 2 * pending.result.n_bytes
            op, pending = f"{pending.label}+{op}", None
        groups.append(
            Group(
                op=op,
                name=node.result.name,
                weight=place.weight.name if place.weight else None,
                weight_type=place.weight.type if place.weight else None,
                layer=place.layer,
                module=place.module,
                n_bytes=n_bytes,
                n_flops=flops(node),
                is_noop=node.op in NOOPS,
                is_threaded=node.op not in _ONE_THREAD,
            )
        )
    return groups


def joins_of(groups: Sequence[Group]) -> list[tuple[int, int]]:
    """Give the places of pairs of small neighbours, with the no-ops between them, that overlap no other pair."""
    pairs = []
    first: int | None = None
    for place, group in enumerate(groups):
        if group.is_noop:
            continue
        if group.op not in _SMALL:
            first = None
        elif first is None:
            first = place
        else:
            pairs.append((first, place))
            first = None
    return pairs


def joined(nodes_alone: Sequence[bool], pairs: Sequence[tuple[int, int]]) -> list[bool]:
    """Take away the ends of groups within the pairs."""
    inner = {place for first, last in pairs for place in range(first, last)}
    ends, place = [], 0
    for ends_group in nodes_alone:
        ends.append(ends_group and place not in inner)
        place += ends_group
    return ends
