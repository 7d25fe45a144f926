"""Nodes of a graph as llama.cpp lays them out, and an engine whose nodes take scripted times."""

from collections.abc import Callable, Sequence

from profiler.records.graph import Node, Tensor
from tests.support.scripted_engine import FakeClock, FakeEngine

# What llama.cpp calls a type's block: its elements and its bytes.
BLOCKS = {"f32": (1, 4), "f16": (1, 2), "i32": (1, 4), "i64": (1, 8), "q4_0": (32, 18), "q8_0": (32, 34)}


def tensor(name: str, *shape: int, kind: str = "f32", op: str = "NONE") -> Tensor:
    """A tensor; missing dimensions are 1."""
    ne0, ne1, ne2, ne3 = (*shape, *[1] * (4 - len(shape)))
    elements, size = BLOCKS[kind]
    return Tensor(name=name, op=op, type=kind, shape=(ne0, ne1, ne2, ne3), block_elements=elements, block_bytes=size)


def node(op: str, name: str, *shape: int, of: Sequence[Tensor] = (), kind: str = "f32", label: str = "") -> Node:
    """A node with its result."""
    return Node(op=op, label=label or op, result=tensor(name, *shape, kind=kind, op=op), sources=tuple(of))


def layer_zero() -> list[Node]:
    """The first layer of a Qwen2 of 896 in one decode step with 256 cells, as llama.cpp names it."""
    embd = tensor("embd", 896, op="GET_ROWS")
    norm = node("RMS_NORM", "norm-0", 896, of=[embd])
    attn_norm = node("MUL", "attn_norm-0", 896, of=[norm.result, tensor("blk.0.attn_norm.weight", 896)])
    q = node("MUL_MAT", "Qcur-0", 896, of=[tensor("blk.0.attn_q.weight", 896, 896, kind="q4_0"), attn_norm.result])
    q_bias = node("ADD", "Qcur-0", 896, of=[q.result, tensor("blk.0.attn_q.bias", 896)])
    q_heads = node("RESHAPE", "Qcur-0", 64, 14, of=[q_bias.result])
    q_rope = node("ROPE", "Qcur-0", 64, 14, of=[q_heads.result, tensor("inp_pos", 1, kind="i32")])
    k_view = node("VIEW", "Kcur-0 (view)", 128, of=[tensor("Kcur-0", 64, 2, op="ROPE")])
    cache = tensor("cache_k_l0", 128, 256, kind="f16")
    k_ids = tensor("attn_inp_k_idxs", 1, kind="i64")
    k_copy = node("SET_ROWS", "cache_k_l0 (view)", 128, 256, of=[k_view.result, k_ids, cache], kind="f16")
    k_heads = node("VIEW", "cache_k_l0 (view)", 64, 2, 256, of=[cache], kind="f16")
    keys = tensor("cache_k_l0 (view) (permuted)", 64, 256, 2, kind="f16", op="PERMUTE")
    values = tensor("cache_v_l0 (view) (permuted)", 64, 256, 2, kind="f16", op="PERMUTE")
    query = tensor("Qcur-0 (view) (permuted)", 64, 1, 14, op="PERMUTE")
    mask = tensor("attn_inp_kq_mask", 256, 1, kind="f16")
    flash = node("FLASH_ATTN_EXT", "node_24", 64, 14, of=[query, keys, values, mask])
    flat = node("RESHAPE", "kqv_out-0", 896, of=[flash.result])
    out = node("MUL_MAT", "node_26", 896, of=[tensor("blk.0.attn_output.weight", 896, 896, kind="q4_0"), flat.result])
    ffn_inp = node("ADD", "ffn_inp-0", 896, of=[out.result, embd])
    second = node("RMS_NORM", "norm-0", 896, of=[ffn_inp.result])
    ffn_norm = node("MUL", "ffn_norm-0", 896, of=[second.result, tensor("blk.0.ffn_norm.weight", 896)])
    gate = node(
        "MUL_MAT", "ffn_gate-0", 4864, of=[tensor("blk.0.ffn_gate.weight", 896, 4864, kind="q4_0"), ffn_norm.result]
    )
    swiglu = node("GLU", "ffn_swiglu-0", 4864, of=[gate.result, gate.result], label="SWIGLU")
    down = node(
        "MUL_MAT", "ffn_out-0", 896, of=[tensor("blk.0.ffn_down.weight", 4864, 896, kind="q4_0"), swiglu.result]
    )
    l_out = node("ADD", "l_out-0", 896, of=[down.result, ffn_inp.result])
    layer = [norm, attn_norm, q, q_bias, q_heads, q_rope, k_view, k_copy, k_heads, flash, flat, out]
    return [*layer, ffn_inp, second, ffn_norm, gate, swiglu, down, l_out]


def graph() -> list[Node]:
    """One layer with what comes before and after it; the embedding is tied."""
    table = tensor("token_embd.weight", 896, 1000, kind="q8_0")
    tokens = tensor("inp_tokens", 1, kind="i32")
    first = node("GET_ROWS", "embd", 896, of=[table, tokens])
    layer = layer_zero()
    norm = node("RMS_NORM", "norm", 896, of=[layer[-1].result])
    result_norm = node("MUL", "result_norm", 896, of=[norm.result, tensor("output_norm.weight", 896)])
    head = node("MUL_MAT", "result_output", 1000, of=[table, result_norm.result])
    return [first, *layer, norm, result_norm, head]


class ObservedFake(FakeEngine):
    """Each group of nodes takes 100 ns for each working node in it, and 7 ns more for being a graph of its own."""

    def __init__(self, clock: FakeClock, nodes: list[Node]) -> None:
        super().__init__(clock)
        self.nodes = nodes

    def describe(self, call: Callable[[], None]) -> list[Node]:
        """Return the scripted nodes."""
        self.calls.append("describe")
        call()
        return self.nodes

    def time(self, call: Callable[[], None], ends_group: Sequence[bool]) -> tuple[list[int], list[int]]:
        """Return scripted times."""
        call()
        starts, ends = [], []
        now = self.clock()
        work = 0
        for each, is_last in zip(self.nodes, ends_group, strict=True):
            work += 0 if each.op in ("RESHAPE", "VIEW") else 100
            if is_last:
                starts.append(now)
                now += work + 7
                ends.append(now)
                now += 1
                work = 0
        return starts, ends
