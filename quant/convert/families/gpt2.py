"""GPT2LMHeadModel: GPT-2 and Cerebras-GPT. Learned positions; matrices are transposed, as Conv1D stores them.

GPT-2's first checkpoints name their tensors without "transformer." and contain the causal mask of each layer.
Source: conversion/gpt2.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import (
    GELUS,
    Config,
    Family,
    as_number,
    first_of,
    need,
    require_whole_heads,
)
from quant.convert.families.planned import Planned, weight_and_bias


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "n_embd"), need(config, "n_inner"), need(config, "vocab_size")
    yield Planned(name="transformer.wte.weight", shape=(n_vocab, n_embd))
    yield Planned(name="transformer.wpe.weight", shape=(need(config, "n_positions"), n_embd))
    for layer in range(need(config, "n_layer")):
        block = f"transformer.h.{layer}"
        for name, shape in (
            ("ln_1", (n_embd,)),
            ("attn.c_attn", (3 * n_embd, n_embd)),
            ("attn.c_proj", (n_embd, n_embd)),
            ("ln_2", (n_embd,)),
            ("mlp.c_fc", (n_ff, n_embd)),
            ("mlp.c_proj", (n_embd, n_ff)),
        ):
            yield from weight_and_bias(f"{block}.{name}", shape, transposed=len(shape) > 1)
    yield from weight_and_bias("transformer.ln_f", (n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=bool(config["tie_word_embeddings"]))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add gpt2's keys. The context length is the number of positions, not n_ctx."""
    writer.add_block_count(need(config, "n_layer"))
    writer.add_context_length(need(config, "n_positions"))
    writer.add_embedding_length(need(config, "n_embd"))
    writer.add_feed_forward_length(need(config, "n_inner"))
    writer.add_head_count(need(config, "n_head"))
    writer.add_layer_norm_eps(as_number(config["layer_norm_epsilon"], "layer_norm_epsilon"))
    writer.add_file_type(file_type)


FAMILY = Family(
    architectures=("GPT2LMHeadModel",),
    model_types=("gpt2",),
    arch="gpt2",
    computed={
        "activation_function": (None, *GELUS),
        "scale_attn_weights": (None, True),
        "scale_attn_by_inverse_layer_idx": (None, False),
    },
    defaults={  # transformers' GPT2Config (4.57), under the names it writes
        "vocab_size": 50257,
        "n_positions": lambda config: first_of(config, "max_position_embeddings", "n_ctx") or 1024,
        "n_embd": lambda config: first_of(config, "hidden_size") or 768,
        "n_layer": lambda config: first_of(config, "num_hidden_layers") or 12,
        "n_head": lambda config: first_of(config, "num_attention_heads") or 12,
        "n_inner": lambda config: 4 * need(config, "n_embd"),
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
    },
    check=lambda config: require_whole_heads(need(config, "n_embd"), need(config, "n_head")),
    tensors=tensors,
    write_keys=write_keys,
    layers_key="n_layer",
    base_prefix="transformer.",
    ignored=(".attn.bias", ".attn.masked_bias"),
)
