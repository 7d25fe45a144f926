"""Which part of the model a node belongs to, and which layer.

The weight's name decides (blk.3.ffn_up.weight), else the node's name in llama.cpp (kqv_out-3, cache_k_l3); a node with
neither belongs with the one before it, since a graph is ordered layer by layer.
Source of the names: src/llama-arch.cpp, src/llama-graph.cpp and src/models/ of the pinned llama.cpp.
"""

import re

import msgspec

from profiler.records.graph import Node, Tensor

MODULES = (
    "attention", "convolution", "scan", "recurrence", "FFN", "router", "experts", "shared experts", "layer embedding",
    "AltUp", "LAuReL", "LM head", "norm", "embedding", "KV copy", "state copy", "other",
)  # fmt: skip

_LAYER_OF_WEIGHT = re.compile(r"^blk\.(\d+)\.")
_LAYER_OF_NODE = re.compile(r"^[^ ]*?-(\d+)(?: |$)|^cache_\w+?_l(\d+)(?: |$)")
_WEIGHT = re.compile(r"\.(?:weight|bias|scale)$")
_NORMS = frozenset({"RMS_NORM", "NORM", "L2_NORM", "GROUP_NORM"})
_ATTENTION = frozenset({"ROPE", "SOFT_MAX", "FLASH_ATTN_EXT"})
# What goes through the tokens one after the other, with a state.
_SCANS = frozenset({"SSM_SCAN", "RWKV_WKV6", "RWKV_WKV7", "GATED_LINEAR_ATTN", "GATED_DELTA_NET"})
# In this order; the first match counts.
_BY_WEIGHT = (
    ("norm", re.compile(r"norm")),
    ("attention", re.compile(r"^blk\.\d+\.attn_")),
    ("convolution", re.compile(r"^blk\.\d+\.(?:ssm_conv1d|shortconv)")),
    ("recurrence", re.compile(r"^blk\.\d+\.(?:ssm|time_mix)_")),
    # Gemma 3n's and 4's embedding of each token for each layer; Gemma 3n's streams and its low-rank path.
    ("layer embedding", re.compile(r"^(?:per_layer_|blk\.\d+\.(?:inp_gate|proj)\.)")),
    ("AltUp", re.compile(r"^(?:blk\.\d+\.)?altup_")),
    ("LAuReL", re.compile(r"^blk\.\d+\.laurel_")),
    ("router", re.compile(r"^blk\.\d+\.(?:ffn_gate_inp\.|exp_probs_b)")),
    ("experts", re.compile(r"^blk\.\d+\.ffn_\w+_exps\.")),
    ("shared experts", re.compile(r"^blk\.\d+\.ffn_\w+_shexp\.")),
    ("FFN", re.compile(r"^blk\.\d+\.(?:ffn|channel_mix)_")),
    ("LM head", re.compile(r"^output\.")),
    ("embedding", re.compile(r"^(?:token_embd|position_embd|token_types)\b")),
)
_BY_NAME = (
    ("KV copy", re.compile(r"^cache_[kv]_")),
    ("state copy", re.compile(r"^cache_(?:r|s|ple_r)_")),
    ("layer embedding", re.compile(r"^(?:inp_per_layer|per_layer_|first_prediction)")),
    (
        "AltUp",
        re.compile(r"^(?:altup_|predictions|modalities|all_coefs|innovation|corrected|inp_stacked|unembd_merged)"),
    ),
    ("LAuReL", re.compile(r"^(?:laurel_|attn_laurel)")),
    ("convolution", re.compile(r"^conv_(?:input|output|state)")),
    # Linear attention: what comes before and after its scan.
    (
        "recurrence",
        re.compile(r"^(?:alpha|a_softplus|beta|z|gate|[qkv]_conv|state_|linear_attn|final_output)(?:[^a-z]|$)"),
    ),
    # Scores of experts, the choice of the best and their weights.
    ("router", re.compile(r"^ffn_moe_(?:logits|probs|argsort|topk|group|weights)")),
    ("experts", re.compile(r"^ffn_moe_")),
    ("shared experts", re.compile(r"^ffn_shexp")),
    # The residual stream: sums of the input and the output of attention or FFN.
    ("other", re.compile(r"^(?:ffn_inp|l_out|sa_out|attn_inp)")),
    ("norm", re.compile(r"norm(?!alized)")),
    ("attention", re.compile(r"^(?:Q|K|V|q|k|v|kv|qkv|kq|kqv|wqkv|wo|attn|fattn|kqv_out|kq_soft_max)(?:[^a-z]|cur|$)")),
    ("FFN", re.compile(r"^ffn_")),
    ("LM head", re.compile(r"^result_output")),
    ("embedding", re.compile(r"^(?:inp_embd|embd|pos_embd|inp_scaled)")),
)


class Part(msgspec.Struct, frozen=True):
    """The part of the model that a node belongs to."""

    module: str
    layer: int | None
    weight: Tensor | None = None


NO_PART = Part("other", None)


def part_of(node: Node, previous: Part = NO_PART) -> Part:
    """Return a node's part of the model; `previous` is that of the node before it."""
    weight = _weight_of(node)
    layer = _layer_of(node, weight)
    module = _module_of(node, weight)
    if module is None:
        # It continues the same layer's work, or it belongs to the graph itself, as the choice of output rows does.
        continues = _is_unnamed(node) and node.op != "GET_ROWS" and previous.module != "embedding"
        module = previous.module if continues else "other"
    if layer is None and _is_unnamed(node):
        layer = previous.layer
    return Part(module, layer, weight)


def _weight_of(node: Node) -> Tensor | None:
    return next((each for each in node.sources if each.op == "NONE" and _WEIGHT.search(each.name)), None)


def _layer_of(node: Node, weight: Tensor | None) -> int | None:
    if weight is not None:
        match = _LAYER_OF_WEIGHT.match(weight.name)
        # A weight of no layer, like the norm before the LM head, means that the node belongs to none.
        return int(match[1]) if match else None
    match = _LAYER_OF_NODE.match(node.result.name)
    return int(match[1] or match[2]) if match else None


def _module_of(node: Node, weight: Tensor | None) -> str | None:
    if node.op in _NORMS:
        return "norm"
    if node.op in _SCANS:
        return "scan"
    if node.op == "SSM_CONV":
        return "convolution"
    if node.op in ("SET_ROWS", "CPY") and (cache := _cache_of(node)):
        return "KV copy" if cache.startswith(("cache_k", "cache_v")) else "state copy"
    if weight is not None:
        found = next((module for module, pattern in _BY_WEIGHT if pattern.search(weight.name)), None)
        # A tied table is the embedding where rows are read from it, and the LM head where it is multiplied with.
        return "LM head" if found == "embedding" and node.op == "MUL_MAT" else found
    if node.op in _ATTENTION and not node.result.name.startswith("ffn_moe"):
        return "attention"
    return next((module for module, pattern in _BY_NAME if pattern.search(node.result.name)), None)


def _cache_of(node: Node) -> str | None:
    return next((each.name for each in (node.result, *node.sources) if each.name.startswith("cache_")), None)


def _is_unnamed(node: Node) -> bool:
    return bool(re.match(r"(?:node_\d+|)(?: |$)", node.result.name))
