"""How much of the compute buffer is used by a batch that is smaller than the largest.

ggml plans the buffer once, for the largest batch. A smaller one computes the same graph in the same places, and writes
the beginning of each: the pages from there to the end of its own tensor. So both graphs are planned, the second in the
places of the first, and the pages that its tensors lie on are counted. Nothing is computed, and no page is written.
Source: ggml_gallocr_needs_realloc in ggml/src/ggml-alloc.c, llama_graph_reserve in src/llama-ext.h of the pinned
llama.cpp.

Only a worker process imports this.
"""

import mmap
from collections.abc import Iterator

from profiler.engine.ggml import GgmlTensor, cpu_device, graph_of_context, library

_ELSEWHERE = 1 << 46  # where weights and caches, which have no memory here, are said to be; never read


def touched_bytes(context: int, *, n_largest: int, n_outputs: int, n_tokens: int) -> int | None:
    """Return the bytes of all pages that `n_tokens` tokens and the logits of one use.

    None where this build of llama.cpp does not return the graph of a context.

    Args:
        context: a llama context that was made without memory.
        n_largest: tokens of the largest batch.
        n_outputs: tokens whose logits that batch has.
    """
    base = library("ggml-base")
    largest = graph_of_context(context, n_largest, n_outputs)
    if largest is None:
        return None
    allocator = base.ggml_gallocr_new(base.ggml_backend_dev_buffer_type(cpu_device()))
    try:
        base.ggml_gallocr_reserve(allocator, largest)
        graph = graph_of_context(context, n_tokens, 1)
        assert graph is not None
        own = []
        for address, tensor in _tensors(graph):
            if tensor.buffer and not tensor.data:
                tensor.data = _ELSEWHERE  # ggml makes no view of what is nowhere
            elif not (tensor.view_src or tensor.data):
                own.append(address)
        base.ggml_gallocr_alloc_graph(allocator, graph)
        return mmap.PAGESIZE * _n_pages(
            (int(GgmlTensor.from_address(each).data), base.ggml_nbytes(each)) for each in own
        )
    finally:
        base.ggml_gallocr_free(allocator)


def _tensors(graph: int) -> Iterator[tuple[int, GgmlTensor]]:
    """Yield each tensor of a graph once: nodes, what they read, and what those are views of."""
    base, seen = library("ggml-base"), set[int]()
    found = [base.ggml_graph_node(graph, index) for index in range(base.ggml_graph_n_nodes(graph))]
    while found:
        address = found.pop()
        if address not in seen:
            seen.add(address)
            tensor = GgmlTensor.from_address(address)
            yield address, tensor
            found += filter(None, (*tensor.src, tensor.view_src))


def _n_pages(spans: Iterator[tuple[int, int]]) -> int:
    n_pages = end = 0
    for first, last in sorted((start // mmap.PAGESIZE, (start + n - 1) // mmap.PAGESIZE) for start, n in spans if n):
        n_pages += max(0, last + 1 - max(first, end))
        end = max(end, last + 1)
    return n_pages
