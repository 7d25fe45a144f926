"""MPTForCausalLM: MPT 7B, Replit Code. ALiBi or learned positions; some settings are nested.

Biases only where the config asks for them. With norms of queries and keys, as SEA-LION 1 has them, llama.cpp ends:
it reshapes a view of the fused matrix, which is not contiguous. Source: conversion/mpt.py and src/models/mpt.cpp of the
pinned llama.cpp; the settings that transformers lacks are those of llm-foundry's MPT.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import Config, Family, as_number, is_tied, need, number, require_whole_heads
from quant.convert.families.planned import Planned, weight_and_bias

_EPSILON = 1e-5  # of every norm, whatever the config says
_NESTED = ("attn_config", "ffn_config")
_ATTENTION = "attn_config."
_HEADS_KV = _ATTENTION + "kv_n_heads"


def _flat(config: Config) -> Config:
    """Return the config with the nested settings beside the others."""
    nested = {part: config[part] for part in _NESTED if isinstance(config.get(part), dict)}
    return config | {f"{part}.{key}": value for part, inner in nested.items() for key, value in inner.items()}


def _n_head_kv(config: Config) -> int:
    if config.get(_ATTENTION + "attn_type") == "multiquery_attention":
        return 1
    return need(config, "n_heads" if config.get(_HEADS_KV) is None else _HEADS_KV)


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_vocab = need(config, "d_model"), need(config, "vocab_size")
    n_ff, n_kv = need(config, "expansion_ratio") * n_embd, n_embd // need(config, "n_heads") * _n_head_kv(config)
    yield Planned(name="transformer.wte.weight", shape=(n_vocab, n_embd))
    if config["learned_pos_emb"] and not config[_ATTENTION + "alibi"]:
        yield Planned(name="transformer.wpe.weight", shape=(need(config, "max_seq_len"), n_embd))
    for layer in range(need(config, "n_layers")):
        for name, shape in (
            ("norm_1", (n_embd,)),
            ("attn.Wqkv", (n_embd + 2 * n_kv, n_embd)),
            ("attn.out_proj", (n_embd, n_embd)),
            ("norm_2", (n_embd,)),
            ("ffn.up_proj", (n_ff, n_embd)),
            ("ffn.down_proj", (n_embd, n_ff)),
        ):
            yield from _layer(config, f"transformer.blocks.{layer}.{name}", shape)
    yield from _layer(config, "transformer.norm_f", (n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def _layer(config: Config, name: str, shape: tuple[int, ...]) -> Iterator[Planned]:
    if config["no_bias"]:
        yield Planned(name=f"{name}.weight", shape=shape)
    else:
        yield from weight_and_bias(name, shape)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add mpt's keys, without the file type; the count of keys only where it is set or not that of the queries.

    llama.cpp's converter takes every feed-forward width for four times the model's, and has no count of keys for
    multi-query attention.
    """
    n_embd, heads, heads_kv = need(config, "d_model"), need(config, "n_heads"), _n_head_kv(config)
    writer.add_context_length(need(config, "max_seq_len"))
    writer.add_embedding_length(n_embd)
    writer.add_block_count(need(config, "n_layers"))
    writer.add_feed_forward_length(need(config, "expansion_ratio") * n_embd)
    writer.add_head_count(heads)
    if heads_kv != heads or config.get(_HEADS_KV) is not None:
        writer.add_head_count_kv(heads_kv)
    writer.add_layer_norm_eps(_EPSILON)
    if config.get(_ATTENTION + "clip_qkv") is not None:
        writer.add_clamp_kqv(number(config, _ATTENTION + "clip_qkv"))
    alibi = as_number(config[_ATTENTION + "alibi_bias_max"], "alibi_bias_max") if config[_ATTENTION + "alibi"] else 0.0
    writer.add_max_alibi_bias(alibi)


FAMILY = Family(
    architectures=("MPTForCausalLM", "MptForCausalLM"),
    model_types=("mpt",),
    arch="mpt",
    adapt=_flat,
    computed={
        "logit_scale": (None,),
        "norm_type": (None, "low_precision_layernorm", "layernorm"),
        "ffn_config.ffn_type": (None, "mptmlp"),
        _ATTENTION + "softmax_scale": (None,),
        _ATTENTION + "prefix_lm": (None, False),
        _ATTENTION + "qk_ln": (None, False),
        _ATTENTION + "rope": (None, False),
        _ATTENTION + "alibi": (None, True, False),
    },
    defaults={  # transformers' MptConfig and MptAttentionConfig (4.57)
        "vocab_size": 50368,
        "d_model": 2048,
        "n_heads": 16,
        "n_layers": 24,
        "expansion_ratio": 4,
        "max_seq_len": 2048,
        "learned_pos_emb": True,
        "no_bias": True,
        "tie_word_embeddings": True,
        _ATTENTION + "alibi": True,
        _ATTENTION + "alibi_bias_max": 8,
    },
    check=lambda config: require_whole_heads(need(config, "d_model"), need(config, "n_heads")),
    tensors=tensors,
    write_keys=write_keys,
    layers_key="n_layers",
    base_prefix="transformer.",
)
