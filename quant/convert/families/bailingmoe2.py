"""BailingMoeV2ForCausalLM: Ling-mini 2.0. Norms of each head's queries and keys, half of a head is rotated.

Experts are chosen by the sigmoid of their scores and a bias, within the best groups; the first layers have none.
Source: conversion/bailingmoe.py and src/models/bailingmoe2.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import (
    SILU,
    Config,
    Family,
    as_number,
    head_dim,
    n_head_kv,
    n_heads,
    need,
    number,
    refuse_unless,
    rope_parameters,
)
from quant.convert.families.experts import Experts, after_dense, shared_by_count
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned

EXPERTS = Experts(
    score_bias="gate.expert_bias",
    shared="mlp.shared_experts",
    n_ff_shared=shared_by_count("num_shared_experts"),
    is_dense=after_dense("first_k_dense_replace"),
)


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_vocab, size = need(config, "hidden_size"), need(config, "vocab_size"), head_dim(config)
    n_qkv = size * (n_heads(config) + 2 * n_head_kv(config))
    yield Planned(name="model.word_embeddings.weight", shape=(n_vocab, n_embd), target="token_embd.weight")
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        yield Planned(name=f"{block}.input_layernorm.weight", shape=(n_embd,))
        for name, shape, target in (
            ("query_key_value", (n_qkv, n_embd), "attn_qkv"),
            ("dense", (n_embd, n_heads(config) * size), "attn_output"),
            ("query_layernorm", (size,), "attn_q_norm"),
            ("key_layernorm", (size,), "attn_k_norm"),
        ):
            yield Planned(name=f"{block}.attention.{name}.weight", shape=shape, target=f"blk.{layer}.{target}.weight")
        yield Planned(name=f"{block}.post_attention_layernorm.weight", shape=(n_embd,))
        yield from EXPERTS(config, layer)
    yield Planned(name="model.norm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and those of the experts."""
    write_common_keys(writer, config, file_type)
    share = as_number(rope_parameters(config).get("partial_rotary_factor", 0.5), "partial_rotary_factor")
    writer.add_rope_dimension_count(int(head_dim(config) * share))
    writer.add_leading_dense_block_count(int(config["first_k_dense_replace"]))
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    writer.add_expert_shared_feed_forward_length(need(config, "moe_intermediate_size"))  # of one of them
    writer.add_expert_weights_scale(number(config, "routed_scaling_factor"))
    writer.add_expert_shared_count(need(config, "num_shared_experts"))
    writer.add_expert_weights_norm(bool(config["norm_topk_prob"]))
    if config.get("num_nextn_predict_layers") is not None:
        writer.add_nextn_predict_layers(0)


def _check_widths(config: Config) -> None:
    if n_heads(config) * head_dim(config) != need(config, "hidden_size"):
        raise UserError("config.json has heads that are not as wide as the model; llama.cpp's bailingmoe2 needs this")
    refuse_unless(config, "moe_shared_expert_intermediate_size", (None, need(config, "moe_intermediate_size")))


FAMILY = Family(
    architectures=("BailingMoeV2ForCausalLM",),
    model_types=("bailing_moe_v2", "bailing_moe_linear"),
    arch="bailingmoe2",
    computed={
        "hidden_act": SILU,
        "use_bias": (None, False),
        "use_qkv_bias": (None, False),
        "use_qk_norm": (None, True),
        "score_function": ("sigmoid", "softmax"),
        "num_nextn_predict_layers": (None, 0),
        "norm_topk_prob": (None, True, False),
        "moe_router_enable_expert_bias": (None, True),
        "tie_word_embeddings": (None, False),
    },
    defaults={  # of the class that comes with the model
        "first_k_dense_replace": 0,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
    },
    check=_check_widths,
    tensors=tensors,
    write_keys=write_keys,
)
