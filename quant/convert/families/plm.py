"""PLMForCausalLM: PLM-1.8B. Keys and values are made from a few values per token; a squared ReLU without a gate.

llama.cpp computes it without flash attention only (--fa off): its graph joins the values of all heads, and the cache
then aborts. Source: conversion/plm.py of the pinned llama.cpp, and load_arch_tensors in its src/models/plm.cpp, which
takes the embedding for the output matrix.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, n_head_kv, n_heads, need
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    heads, rank = n_heads(config), need(config, "kv_lora_rank")
    plain, rotated, value = (need(config, f"{part}_head_dim") for part in ("qk_nope", "qk_rope", "v"))
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        for name, shape in (
            ("self_attn.q_proj", (heads * (plain + rotated), n_embd)),
            ("self_attn.kv_a_proj_with_mqa", (rank + rotated, n_embd)),
            ("self_attn.kv_a_layernorm", (rank,)),
            ("self_attn.kv_b_proj", (heads * (plain + value), rank)),
            ("self_attn.o_proj", (n_embd, heads * value)),
            ("mlp.up_proj", (n_ff, n_embd)),
            ("mlp.down_proj", (n_embd, n_ff)),
            ("input_layernorm", (n_embd,)),
            ("post_attention_layernorm", (n_embd,)),
        ):
            yield Planned(name=f"model.layers.{layer}.{name}.weight", shape=shape)
    yield Planned(name="model.norm.weight", shape=(n_embd,))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and the sizes of keys and values."""
    write_common_keys(writer, config, file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_kv_lora_rank(need(config, "kv_lora_rank"))
    writer.add_key_length(need(config, "qk_nope_head_dim") + need(config, "qk_rope_head_dim"))
    writer.add_value_length(need(config, "v_head_dim"))
    writer.add_rope_dimension_count(need(config, "qk_rope_head_dim"))


def _check(config: Config) -> None:
    if n_head_kv(config) != n_heads(config):
        raise UserError(
            f"config.json has num_key_value_heads = {n_head_kv(config)} and {n_heads(config)} heads; llama.cpp's plm "
            "makes keys and values for each head; choose another model"
        )


FAMILY = Family(
    architectures=("PLMForCausalLM",),
    model_types=("plm",),
    arch="plm",
    computed={
        "hidden_act": (None, "relu2"),
        "q_lora_rank": (None,),
        "attention_bias": (None, False),
        "tie_word_embeddings": (None, True),
    },
    defaults={  # PLMConfig in configuration_plm.py of PLM-Team/PLM-1.8B-Base
        "num_key_value_heads": 16,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "qk_nope_head_dim": 128,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_theta": 100000.0,
        "tie_word_embeddings": True,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    ignored=("lm_head.weight",),
)
