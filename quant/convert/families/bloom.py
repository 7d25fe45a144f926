"""BloomForCausalLM: BLOOM and BLOOMZ. ALiBi instead of positions; query, key and value alternate by head.

The first checkpoints name their tensors without "transformer.". Source: conversion/bloom.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import (
    Config,
    Family,
    as_number,
    first_of,
    need,
    require_whole_heads,
)
from quant.convert.families.planned import ByPart, Planned, weight_and_bias


def _renamed(config: Config) -> Config:
    """Let n_embed override hidden_size, as BloomConfig does."""
    return config if config.get("n_embed") is None else {**config, "hidden_size": config["n_embed"]}


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; the feed-forward part is always four times as wide."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    by_part = ByPart(need(config, "n_head"))
    yield Planned(name="transformer.word_embeddings.weight", shape=(n_vocab, n_embd))
    yield from weight_and_bias("transformer.word_embeddings_layernorm", (n_embd,))
    for layer in range(need(config, "n_layer")):
        block = f"transformer.h.{layer}"
        for name, shape, order in (
            ("input_layernorm", (n_embd,), None),
            ("self_attention.query_key_value", (3 * n_embd, n_embd), by_part),
            ("self_attention.dense", (n_embd, n_embd), None),
            ("post_attention_layernorm", (n_embd,), None),
            ("mlp.dense_h_to_4h", (4 * n_embd, n_embd), None),
            ("mlp.dense_4h_to_h", (n_embd, 4 * n_embd), None),
        ):
            yield from weight_and_bias(f"{block}.{name}", shape, order=order)
    yield from weight_and_bias("transformer.ln_f", (n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=bool(config["tie_word_embeddings"]))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add bloom's keys. ALiBi has no context limit: like llama.cpp's converter, write seq_length, or else the width."""
    n_embd, heads = need(config, "hidden_size"), need(config, "n_head")
    writer.add_context_length(need(config, "seq_length", n_embd))
    writer.add_embedding_length(n_embd)
    writer.add_feed_forward_length(4 * n_embd)
    writer.add_block_count(need(config, "n_layer"))
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_eps(as_number(config["layer_norm_epsilon"], "layer_norm_epsilon"))
    writer.add_file_type(file_type)


FAMILY = Family(
    architectures=("BloomForCausalLM", "BloomModel"),
    model_types=("bloom",),
    arch="bloom",
    adapt=_renamed,
    computed={"apply_residual_connection_post_layernorm": (None, False)},
    defaults={  # transformers' BloomConfig (4.57), under the names it writes
        "vocab_size": 250880,
        "hidden_size": 64,
        "n_layer": lambda config: first_of(config, "num_hidden_layers") or 2,
        "n_head": lambda config: first_of(config, "num_attention_heads") or 8,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    },
    check=lambda config: require_whole_heads(need(config, "hidden_size"), need(config, "n_head")),
    tensors=tensors,
    write_keys=write_keys,
    layers_key="n_layer",
    base_prefix="transformer.",
)
