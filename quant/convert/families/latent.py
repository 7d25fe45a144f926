"""Latent attention: keys and values of all heads are made of one short row per token, which alone is cached.

llama.cpp computes with it as with a single wide head: the matrix that makes the keys is transposed, head by head.
Source: conversion/deepseek.py and src/models/deepseek2.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

from quant.convert.families.base import Config, n_heads, need
from quant.convert.families.planned import OfEach, Planned


def latent_attention(config: Config, layer: int) -> Iterator[Planned]:
    """Yield the tensors of a layer's attention."""
    n_embd, heads, block = need(config, "hidden_size"), n_heads(config), f"model.layers.{layer}.self_attn"
    rank, n_rope, n_nope = (need(config, key) for key in ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim"))
    n_value = need(config, "v_head_dim")
    n_query = heads * (n_nope + n_rope)
    if config.get("q_lora_rank") is None:
        yield Planned(name=f"{block}.q_proj.weight", shape=(n_query, n_embd))
    else:
        n_rank = need(config, "q_lora_rank")
        yield Planned(name=f"{block}.q_a_proj.weight", shape=(n_rank, n_embd))
        yield Planned(name=f"{block}.q_a_layernorm.weight", shape=(n_rank,))
        yield Planned(name=f"{block}.q_b_proj.weight", shape=(n_query, n_rank))
    yield Planned(name=f"{block}.kv_a_proj_with_mqa.weight", shape=(rank + n_rope, n_embd))
    yield Planned(name=f"{block}.kv_a_layernorm.weight", shape=(rank,))
    whole = n_nope + n_value
    source = f"{block}.kv_b_proj.weight"
    yield Planned(
        name=source,
        shape=(heads, rank, n_nope),
        target=f"blk.{layer}.attn_k_b.weight",
        source_shape=(heads * whole, rank),
        transposed=True,
    )
    yield Planned(
        name=source,
        shape=(heads, n_value, rank),
        target=f"blk.{layer}.attn_v_b.weight",
        source_shape=(heads * whole, rank),
        order=OfEach(n_value, whole, n_nope),
    )
    yield Planned(name=f"{block}.o_proj.weight", shape=(n_embd, heads * n_value))
