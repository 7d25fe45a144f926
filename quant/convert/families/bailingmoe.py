"""BailingMoeForCausalLM: Ling-lite. Query, key and value are one matrix; experts, and some that compute every token.

Source: conversion/bailingmoe.py and src/models/bailingmoe.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import SILU, Config, Family, head_dim, n_head_kv, n_heads, need
from quant.convert.families.experts import Experts, shared_by_count
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import From, Interleaved, Planned

EXPERTS = Experts(shared="mlp.shared_experts", n_ff_shared=shared_by_count("num_shared_experts"))


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    yield Planned(name="model.word_embeddings.weight", shape=(n_vocab, n_embd), target="token_embd.weight")
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        yield Planned(name=f"{block}.input_layernorm.weight", shape=(n_embd,))
        yield from _attention(config, layer)
        yield Planned(name=f"{block}.post_attention_layernorm.weight", shape=(n_embd,))
        yield from EXPERTS(config, layer)
    yield Planned(name="model.norm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd))


def _attention(config: Config, layer: int) -> Iterator[Planned]:
    heads, heads_kv, size = n_heads(config), n_head_kv(config), head_dim(config)
    n_embd, n_q, n_kv = need(config, "hidden_size"), heads * size, heads_kv * size
    block = f"model.layers.{layer}.attention"
    for part, n_rows, order in (
        ("q", n_q, Interleaved(heads)),
        ("k", n_kv, Interleaved(heads_kv, n_q)),
        ("v", n_kv, From(n_q + n_kv)),
    ):
        yield Planned(
            name=f"{block}.query_key_value.weight",
            shape=(n_rows, n_embd),
            target=f"blk.{layer}.attn_{part}.weight",
            source_shape=(n_q + 2 * n_kv, n_embd),
            order=order,
        )
    yield Planned(name=f"{block}.dense.weight", shape=(n_embd, n_q), target=f"blk.{layer}.attn_output.weight")


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and those of the experts."""
    write_common_keys(writer, config, file_type)
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_leading_dense_block_count(0)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    writer.add_expert_weights_scale(1.0)
    writer.add_expert_shared_count(need(config, "num_shared_experts"))
    writer.add_expert_weights_norm(bool(config["norm_topk_prob"]))


FAMILY = Family(
    architectures=("BailingMoeForCausalLM",),
    model_types=("bailing_moe",),
    arch="bailingmoe",
    computed={
        "hidden_act": SILU,
        "first_k_dense_replace": (None, 0),
        "norm_head": (None, False),
        "norm_softmax": (None, False),
        "use_bias": (None, False),
        "use_qkv_bias": (None, False),
        "norm_topk_prob": (None, True, False),
        "tie_word_embeddings": (None, False),
    },
    defaults={"norm_topk_prob": True},  # of the class that comes with the model
    tensors=tensors,
    write_keys=write_keys,
)
