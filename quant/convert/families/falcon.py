"""FalconForCausalLM: Falcon 7B and Falcon 2 11B. Attention and feed-forward in parallel, a norm for both or for each.

Queries, keys and values alternate by group of heads in one matrix. Falcon-RW, which has ALiBi and biases, is not what
llama.cpp computes. Source: conversion/falcon.py and src/models/falcon.cpp of the pinned llama.cpp; the groups' keys
and values are those of transformers' FalconAttention (4.57).
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import (
    GELUS,
    Config,
    Family,
    as_number,
    first_of,
    head_dim,
    is_tied,
    n_heads,
    need,
    require_full_width,
    require_whole_heads,
)
from quant.convert.families.keys import write_counts, write_unusual_rope_keys
from quant.convert.families.planned import Grouped, Planned, weight_and_bias

_RENAMED = {"n_embed": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers"}


def _renamed(config: Config) -> Config:
    """Rename the settings of the first configs, whose class was RWForCausalLM, and that of the feed-forward width."""
    new = {name: config[old] for old, name in _RENAMED.items() if config.get(old) is not None}
    named = {
        "num_kv_heads": first_of(config, "num_kv_heads", "n_head_kv"),
        "intermediate_size": config.get("ffn_hidden_size"),
    }
    return {**config, **named, **new}


def _n_head_kv(config: Config) -> int:
    """Return the number of keys: of the first architecture one for all queries, whatever num_kv_heads says."""
    if not config["new_decoder_architecture"] and config["multi_query"]:
        return 1
    return need(config, "num_attention_heads" if config.get("num_kv_heads") is None else "num_kv_heads")


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    heads, groups, size = n_heads(config), _n_head_kv(config), head_dim(config)
    two_norms = config["new_decoder_architecture"] and config.get("num_ln_in_parallel_attn") in (None, 2)
    yield Planned(name="transformer.word_embeddings.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"transformer.h.{layer}"
        for name in ("ln_attn", "ln_mlp") if two_norms else ("input_layernorm",):
            yield from weight_and_bias(f"{block}.{name}", (n_embd,))
        for name, shape, order in (
            ("self_attention.query_key_value", ((heads + 2 * groups) * size, n_embd), Grouped(heads, groups, size)),
            ("self_attention.dense", (n_embd, n_embd), None),
            ("mlp.dense_h_to_4h", (n_ff, n_embd), None),
            ("mlp.dense_4h_to_h", (n_embd, n_ff), None),
        ):
            yield Planned(name=f"{block}.{name}.weight", shape=shape, order=order)
    yield from weight_and_bias("transformer.ln_f", (n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add falcon's keys.

    llama.cpp's converter has one context length and one feed-forward width for all and no rope settings, which is
    wrong for Falcon 2.
    """
    write_counts(writer, config, "context_length")
    writer.add_tensor_data_layout("jploski")
    write_counts(writer, config, "embedding_length", "feed_forward_length", "block_count", "head_count")
    writer.add_head_count_kv(_n_head_kv(config))
    writer.add_layer_norm_eps(as_number(config["layer_norm_epsilon"], "layer_norm_epsilon"))
    writer.add_file_type(file_type)
    write_unusual_rope_keys(writer, config)


def _check(config: Config) -> None:
    require_full_width(config)
    require_whole_heads(n_heads(config), _n_head_kv(config))


FAMILY = Family(
    architectures=("FalconForCausalLM", "RWForCausalLM"),
    model_types=("falcon", "RefinedWebModel"),
    arch="falcon",
    adapt=_renamed,
    computed={
        "activation": (None, *GELUS),
        "alibi": (None, False),
        "bias": (None, False),
        "parallel_attn": (None, True),
        "multi_query": (None, True, False),
        "new_decoder_architecture": (None, True, False),
        "num_ln_in_parallel_attn": (None, 1, 2),
    },
    defaults={  # transformers' FalconConfig (4.57)
        "vocab_size": 65024,
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "layer_norm_epsilon": 1e-5,
        # The first repository of 40B has a class of its own for the second architecture.
        "new_decoder_architecture": lambda config: config.get("model_type") == "RefinedWeb",
        "multi_query": True,
        "max_position_embeddings": 2048,
        "rope_theta": 10000.0,
        "intermediate_size": lambda config: 4 * need(config, "hidden_size"),
        "tie_word_embeddings": True,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    base_prefix="transformer.",
)
