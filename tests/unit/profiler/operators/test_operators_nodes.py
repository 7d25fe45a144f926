"""What a node of a graph is: its place in the model, what it moves and computes, and what is timed in one go."""

import pytest

from profiler.operators.classify import NO_PART, Part, part_of
from profiler.operators.group import ends_of_groups, ends_when_joined, groups_of, joins_of
from profiler.predict.cost import bytes_moved, flops
from profiler.records.graph import Node
from tests.support.nodes import graph, node, tensor


def test_every_node_of_a_layer_finds_its_place() -> None:
    groups = groups_of(graph())
    assert [(group.op, group.module, group.layer) for group in groups] == [
        ("GET_ROWS", "embedding", None),
        ("RMS_NORM+MUL", "norm", 0),
        ("MUL_MAT", "attention", 0),
        ("ADD", "attention", 0),
        ("RESHAPE", "attention", 0),
        ("ROPE", "attention", 0),
        ("VIEW", "attention", 0),
        ("SET_ROWS", "KV copy", 0),
        ("VIEW", "KV copy", 0),
        ("FLASH_ATTN_EXT", "attention", 0),
        ("RESHAPE", "attention", 0),
        ("MUL_MAT", "attention", 0),
        ("ADD", "other", 0),
        ("RMS_NORM+MUL", "norm", 0),
        ("MUL_MAT", "FFN", 0),
        ("SWIGLU", "FFN", 0),
        ("MUL_MAT", "FFN", 0),
        ("ADD", "other", 0),
        ("RMS_NORM+MUL", "norm", None),
        ("MUL_MAT", "LM head", None),
    ]
    assert [group.weight for group in groups if group.op == "MUL_MAT"] == [
        "blk.0.attn_q.weight",
        "blk.0.attn_output.weight",
        "blk.0.ffn_gate.weight",
        "blk.0.ffn_down.weight",
        "token_embd.weight",
    ]
    assert groups[2].weight_type == "q4_0"


WEIGHTED = [
    ("MUL_MAT", "blk.11.attn_qkv.weight", "attention", 11),
    ("MUL_MAT", "blk.3.attn_kv_a_mqa.weight", "attention", 3),
    ("MUL", "blk.3.attn_q_norm.weight", "norm", 3),
    ("MUL", "blk.3.post_attention_norm.weight", "norm", 3),
    ("MUL_MAT_ID", "blk.2.ffn_up_exps.weight", "experts", 2),
    ("ADD_ID", "blk.2.ffn_down_exps.bias", "experts", 2),
    ("MUL_MAT", "blk.2.ffn_gate_inp.weight", "router", 2),
    ("ADD", "blk.2.exp_probs_b.bias", "router", 2),
    ("MUL_MAT", "blk.2.ffn_gate_inp_shexp.weight", "shared experts", 2),
    ("MUL_MAT", "blk.2.ffn_up_shexp.weight", "shared experts", 2),
    ("ADD", "blk.2.ffn_down.bias", "FFN", 2),
    ("MUL_MAT", "blk.2.ssm_in.weight", "recurrence", 2),
    ("SSM_CONV", "blk.2.ssm_conv1d.weight", "convolution", 2),
    ("MUL_MAT", "blk.2.shortconv.in_proj.weight", "convolution", 2),
    ("MUL_MAT", "blk.2.time_mix_key.weight", "recurrence", 2),
    ("MUL_MAT", "blk.2.channel_mix_key.weight", "FFN", 2),
    ("GET_ROWS", "per_layer_token_embd.weight", "layer embedding", None),
    ("MUL_MAT", "blk.2.inp_gate.weight", "layer embedding", 2),
    ("MUL_MAT", "blk.2.altup_router.weight", "AltUp", 2),
    ("MUL_MAT", "altup_unembd_proj.weight", "AltUp", None),
    ("MUL_MAT", "blk.2.laurel_l.weight", "LAuReL", 2),
    ("MUL_MAT", "output.weight", "LM head", None),
    ("ADD", "output.bias", "LM head", None),
    ("GET_ROWS", "position_embd.weight", "embedding", None),
]


@pytest.mark.parametrize(("op", "weight", "module", "layer"), WEIGHTED)
def test_the_weight_tells_the_place(op: str, weight: str, module: str, layer: int | None) -> None:
    reads = tensor(weight, 64, 64)
    assert part_of(node(op, "node_7", 64, of=[tensor("x", 64, op="ADD"), reads])) == Part(module, layer, reads)


NAMED = [
    ("MUL_MAT", "kq-5", "attention", 5),
    ("SOFT_MAX", "kq_soft_max-5", "attention", 5),
    ("CONT", "kqv_out-12", "attention", 12),
    ("CONT", "v_cont-4", "attention", 4),
    ("UNARY", "ffn_silu-4", "FFN", 4),
    ("SOFT_MAX", "ffn_moe_probs-4", "router", 4),
    ("DIV", "ffn_moe_weights_norm-4", "router", 4),
    ("SWIGLU", "ffn_moe_swiglu-4", "experts", 4),
    ("MUL", "ffn_moe_weighted-4", "experts", 4),
    ("MUL", "ffn_shexp_out-4", "shared experts", 4),
    ("ADD", "l_out-4", "other", 4),
    ("ADD", "ffn_inp-4", "other", 4),
    ("CPY", "cache_v_l7 (view)", "KV copy", 7),
    ("CPY", "cache_s_l7 (view)", "state copy", 7),
    ("SSM_SCAN", "node_12", "scan", None),
    ("GATED_DELTA_NET", "node_12", "scan", None),
    ("UNARY", "beta_sigmoid-3", "recurrence", 3),
    ("CONCAT", "conv_input-3", "convolution", 3),
    ("MUL", "innovation-3", "AltUp", 3),
    ("MUL", "first_prediction_scaled-3", "layer embedding", 3),
    ("RMS_NORM", "node_9", "norm", None),
    ("SCALE", "inp_scaled", "embedding", None),
    ("SCALE", "inp_embd", "embedding", None),
    ("UNARY", "result_output", "LM head", None),
    ("ADD", "nothing known", "other", None),
]


@pytest.mark.parametrize(("op", "name", "module", "layer"), NAMED)
def test_without_a_weight_the_name_tells_the_place(op: str, name: str, module: str, layer: int | None) -> None:
    assert part_of(node(op, name, 64)) == Part(module, layer)


def test_a_node_without_a_name_belongs_with_the_one_before() -> None:
    nameless = node("CONT", "node_31", 64)
    assert part_of(nameless, Part("FFN", 3)) == Part("FFN", 3)
    assert part_of(nameless, NO_PART) == NO_PART


def test_the_choice_of_the_rows_that_go_on_belongs_to_no_module() -> None:
    rows = node("GET_ROWS", "node_27", 64, of=[tensor("node_26", 64, 8, op="MUL_MAT"), tensor("inp_out_ids", 1)])
    assert part_of(rows, Part("attention", 3)) == Part("other", 3)


COSTS = [
    # 2 rows of 64 q4_0 are 72 bytes, 2 ids 8, the result 2 x 64 floats.
    (node("GET_ROWS", "x", 64, 2, of=[tensor("t", 64, 999, kind="q4_0"), tensor("i", 2, kind="i32")]), 592, 0),
    # 2 rows of 64 floats are read and written as f16, with two ids of 8 bytes: not the table of 256 rows.
    (
        node(
            "SET_ROWS",
            "cache_k_l0 (view)",
            64,
            256,
            of=[tensor("k", 64, 2), tensor("i", 2, kind="i64"), tensor("cache_k_l0", 64, 256, kind="f16")],
            kind="f16",
        ),
        512 + 16 + 256,
        0,
    ),
    # 64 x 32 weights of q8_0 (2176 bytes), 64 floats in, 32 out; 2 * 64 * 32 operations.
    (node("MUL_MAT", "y", 32, of=[tensor("w", 64, 32, kind="q8_0"), tensor("x", 64)]), 2176 + 256 + 128, 4096),
    # Three tokens: the weights count once, the operations three times.
    (node("MUL_MAT", "y", 32, 3, of=[tensor("w", 64, 32, kind="q8_0"), tensor("x", 64, 3)]), 2176 + 768 + 384, 12288),
    # 2 of 8 experts are read.
    (
        node(
            "MUL_MAT_ID",
            "y",
            32,
            2,
            of=[tensor("w", 64, 32, 8, kind="q8_0"), tensor("x", 64), tensor("i", 2, kind="i32")],
        ),
        2 * 2176 + 256 + 8 + 256,
        2 * 64 * 64,
    ),
    # 14 heads of 64 against 256 keys and values of 2 heads.
    (
        node(
            "FLASH_ATTN_EXT",
            "a",
            64,
            14,
            of=[
                tensor("q", 64, 1, 14, op="PERMUTE"),
                tensor("k", 64, 256, 2, kind="f16"),
                tensor("v", 64, 256, 2, kind="f16"),
            ],
        ),
        3584 + 65536 + 65536 + 3584,
        2 * 14 * 256 * 128,
    ),
    (node("VIEW", "x (view)", 64, 256, of=[tensor("x", 64, 256)]), 0, 0),
    (node("CPY", "c", 64, of=[tensor("x", 64), tensor("c", 64, kind="f16")], kind="f16"), 256 + 128, 0),
    # x * x reads x once.
    (node("MUL", "y", 64, of=[tensor("x", 64), tensor("x", 64)]), 512, 0),
]


@pytest.mark.parametrize(("each", "n_bytes", "n_flops"), COSTS)
def test_what_a_node_moves_and_computes(each: Node, n_bytes: int, n_flops: int) -> None:
    assert (bytes_moved(each), flops(each)) == (n_bytes, n_flops)


def test_a_norm_and_its_weight_are_timed_together_and_nothing_else() -> None:
    nodes = graph()
    together = [nodes[index].result.name for index, ends in enumerate(ends_of_groups(nodes)) if not ends]
    assert together == ["norm-0", "norm-0", "norm"]
    fused = next(group for group in groups_of(nodes) if group.op == "RMS_NORM+MUL")
    # 896 floats in, 896 weights, 896 out; what is between stays in the cache.
    assert (fused.name, fused.n_bytes) == ("attn_norm-0", 3 * 896 * 4)


def test_a_norm_whose_result_the_next_node_does_not_read_is_timed_alone() -> None:
    norm = node("RMS_NORM", "norm-0", 64, of=[tensor("x", 64)])
    assert ends_of_groups([norm, node("MUL", "y", 64, of=[tensor("a", 64), tensor("b", 64)])]) == [True, True]
    assert ends_of_groups([norm]) == [True]


def test_small_neighbours_are_joined_over_the_views_between_them() -> None:
    nodes = graph()
    groups = groups_of(nodes)
    pairs = joins_of(groups)
    assert [(groups[first].name, groups[last].name) for first, last in pairs] == [
        ("Qcur-0", "Qcur-0"),  # the bias and RoPE, with a RESHAPE between
        ("ffn_inp-0", "ffn_norm-0"),
        ("l_out-0", "result_norm"),
    ]
    ends = ends_of_groups(nodes)
    # The first pair loses two ends (ADD, RESHAPE), the others one each.
    assert sum(ends) - sum(ends_when_joined(ends, pairs)) == 4
    assert [groups[first].is_threaded for first, _ in pairs] == [True, True, True]


def test_what_one_thread_computes_is_known() -> None:
    assert {group.op for group in groups_of(graph()) if not group.is_threaded} == {
        "GET_ROWS",
        "RESHAPE",
        "VIEW",
        "SET_ROWS",
    }
