"""GPTNeoXForCausalLM: GPT-NeoX, Pythia. Query, key and value alternate by head; partial rotary; biases everywhere.

Source: conversion/gptneox.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import (
    GELUS,
    Config,
    Family,
    as_number,
    need,
    require_whole_heads,
    rotary_dims,
)
from quant.convert.families.keys import write_counts, write_unusual_rope_keys
from quant.convert.families.planned import ByPart, Planned, weight_and_bias


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    by_part = ByPart(need(config, "num_attention_heads"))
    yield Planned(name="gpt_neox.embed_in.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"gpt_neox.layers.{layer}"
        for name, shape, order in (
            ("input_layernorm", (n_embd,), None),
            ("post_attention_layernorm", (n_embd,), None),
            ("attention.query_key_value", (3 * n_embd, n_embd), by_part),
            ("attention.dense", (n_embd, n_embd), None),
            ("mlp.dense_h_to_4h", (n_ff, n_embd), None),
            ("mlp.dense_4h_to_h", (n_embd, n_ff), None),
        ):
            yield from weight_and_bias(f"{block}.{name}", shape, order=order)
    yield from weight_and_bias("gpt_neox.final_layer_norm", (n_embd,))
    yield Planned(name="embed_out.weight", shape=(n_vocab, n_embd))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add gptneox's keys, without the file type."""
    write_counts(writer, config, "context_length", "embedding_length", "block_count", "feed_forward_length")
    writer.add_rope_dimension_count(rotary_dims(config, 0.25))
    writer.add_head_count(need(config, "num_attention_heads"))
    writer.add_parallel_residual(config["use_parallel_residual"])
    writer.add_layer_norm_eps(as_number(config["layer_norm_eps"], "layer_norm_eps"))
    write_unusual_rope_keys(writer, config)


FAMILY = Family(
    architectures=("GPTNeoXForCausalLM",),
    model_types=("gpt_neox",),
    arch="gptneox",
    computed={
        "hidden_act": (None, *GELUS),
        "attention_bias": (None, True),
        "tie_word_embeddings": (None, False),
        "use_parallel_residual": (None, True, False),
    },
    defaults={  # transformers' GPTNeoXConfig (4.57)
        "vocab_size": 50432,
        "hidden_size": 6144,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "intermediate_size": 24576,
        "hidden_act": "gelu",
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5,
        "use_parallel_residual": True,
    },
    check=lambda config: require_whole_heads(need(config, "hidden_size"), need(config, "num_attention_heads")),
    tensors=tensors,
    write_keys=write_keys,
)
