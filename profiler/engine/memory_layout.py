"""Where ggml's work buffer starts: an accident of a process's earlier allocations, which moves prefill by 3 %.

ggml's CPU backend takes its work buffer with `new uint8_t[]`, aligned to 16 bytes. At an odd multiple of 16 its vector
loads cross cache lines. A cell that is measured in processes alike repeats one accident, so its interval is narrow and
may be wrong; rounds with the buffer at 0, 16, 32 and 48 bytes modulo 64 in turn have the effect inside their interval.

glibc places what it has no free piece for at the end of the heap. So all free pieces that are as large are taken, room
is left for what is smaller, and the end is moved: the first graph takes its nodes' memory there, then its work buffer.
Source: ggml_backend_cpu_graph_compute in ggml-cpu.cpp and llm_graph_result::reset in llama-graph.cpp of the pinned
llama.cpp, malloc/malloc.c of glibc.
"""

import ctypes
import platform
from functools import cache

from profiler.engine.ggml import library
from profiler.records.config import RunConfig

LINE_BYTES = 64  # of the cache, on nearly all CPUs
STEP_BYTES = 16  # glibc's alignment
UNCONTROLLED = "uncontrolled"

_M_MMAP_THRESHOLD = -3  # malloc.h
_MOST_HEAP_BYTES = 1 << 30  # smaller allocations come from the heap, not from pages of their own
_CHUNK_BYTES = 1 << 16
_MOST_CHUNKS = 1 << 16
_HEADER_BYTES = 8  # between two allocations
_N_ROOMS = 16
_TOKEN_BYTES = 256  # more than llama_decode takes in one piece for each token
_MOST_TOKENS = 1024  # of a prompt; with more, other allocations come between
_LEAST_ROOM_BYTES, _MOST_ROOM_BYTES = 56 << 10, 400 << 10
_LEAST_WORK_BYTES = 96 << 10  # of a model of this width, whatever it computes
_LEAST_WIDTH = 256
_WORK_TOKEN_BYTES = 1 << 10  # of the work buffer for a token of a prompt, in a model of this width


def offset_of(number: int) -> int:
    """Return the offset of a round: over four rounds each once, and any even number has as many odd as even ones."""
    return number * STEP_BYTES % LINE_BYTES


def place_work_buffer(offset_bytes: int, config: RunConfig, *, max_nodes: int | None, width: int) -> str:
    """Let the work buffer of the first graph start at this offset modulo 64; return the offset, or "uncontrolled".

    To be called between the making of a context and its first graph, in the thread that computes.

    Args:
        max_nodes: of a graph, from llama.cpp's log; None where it is unknown.
        width: of the model's embeddings.
    """
    libc = _glibc()
    if libc is None or max_nodes is None or config.device != "cpu" or width < _LEAST_WIDTH:
        return UNCONTROLLED
    n_tokens = min(max(config.n_prompt, config.n_depth, 1), config.n_batch)
    room_bytes = min(max(_LEAST_ROOM_BYTES, _TOKEN_BYTES * n_tokens), _MOST_ROOM_BYTES)
    work_bytes = max(_LEAST_WORK_BYTES, _WORK_TOKEN_BYTES * min(n_tokens, config.n_ubatch))
    if n_tokens > _MOST_TOKENS or not _first_is_largest(config) or room_bytes >= work_bytes:
        return UNCONTROLLED
    libc.mallopt(_M_MMAP_THRESHOLD, _MOST_HEAP_BYTES)
    if not _take_free_pieces(libc):
        return UNCONTROLLED
    rooms = [libc.malloc(room_bytes) for _ in range(_N_ROOMS)]
    last = libc.malloc(_CHUNK_BYTES)
    shift = (offset_bytes - _next(libc, last) - _graph_bytes(max_nodes)) % LINE_BYTES
    libc.free(last)
    libc.malloc(_CHUNK_BYTES + shift)
    for room in rooms[::2]:  # the others keep them apart
        libc.free(room)
    return str(offset_bytes)


def _first_is_largest(config: RunConfig) -> bool:
    """Return whether the first graph has as many tokens as any: a later one that needs more takes a new buffer."""
    first = config.n_depth or config.n_prompt
    return min(first, config.n_ubatch) >= min(config.n_prompt, config.n_ubatch)


def _take_free_pieces(libc: ctypes.CDLL) -> bool:
    """Allocate until the heap grows, which it does when no free piece is left; return whether it did."""
    end = libc.sbrk(0)
    for _ in range(_MOST_CHUNKS):
        libc.malloc(_CHUNK_BYTES)
        if libc.sbrk(0) > end:
            return True
    return False


def _next(libc: ctypes.CDLL, address: int) -> int:
    """Return where the allocation after the last one will start."""
    return int(address + libc.malloc_usable_size(address) + _HEADER_BYTES)


def _graph_bytes(max_nodes: int) -> int:
    """Return what the first graph allocates for its nodes, with glibc's header."""
    base = library("ggml-base")
    n_bytes = base.ggml_tensor_overhead() * max_nodes + base.ggml_graph_overhead_custom(max_nodes, False)
    return int((n_bytes + _HEADER_BYTES + STEP_BYTES - 1) // STEP_BYTES * STEP_BYTES)


@cache
def _glibc() -> ctypes.CDLL | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    for name, result, argument in (
        ("malloc", ctypes.c_void_p, ctypes.c_size_t),
        ("free", None, ctypes.c_void_p),
        ("malloc_usable_size", ctypes.c_size_t, ctypes.c_void_p),
        ("sbrk", ctypes.c_void_p, ctypes.c_ssize_t),
    ):
        function = getattr(libc, name)
        function.restype, function.argtypes = result, [argument]
    return libc
