"""PhiForCausalLM: Phi-1, Phi-1.5 and Phi-2. One norm for attention and feed-forward, biases everywhere.

Partial rotary. The output matrix has a bias and is never the embedding.
Source: conversion/phi.py of the pinned llama.cpp.
"""

from collections.abc import Iterator
from pathlib import Path

import gguf
import msgspec

from quant.convert.families.base import (
    GELUS,
    Config,
    Family,
    n_head_kv,
    need,
    number,
    rotary_dims,
)
from quant.convert.families.keys import write_counts, write_unusual_rope_keys
from quant.convert.families.planned import Planned, weight_and_bias
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

_ROTARY = 0.5  # partial_rotary_factor by default


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    n_kv = n_embd // need(config, "num_attention_heads") * n_head_kv(config)
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        for name, shape in (
            ("self_attn.q_proj", (n_embd, n_embd)),
            ("self_attn.k_proj", (n_kv, n_embd)),
            ("self_attn.v_proj", (n_kv, n_embd)),
            ("self_attn.dense", (n_embd, n_embd)),
            ("mlp.fc1", (n_ff, n_embd)),
            ("mlp.fc2", (n_embd, n_ff)),
            ("input_layernorm", (n_embd,)),
        ):
            yield from weight_and_bias(f"{block}.{name}", shape)
    yield from weight_and_bias("model.final_layernorm", (n_embd,))
    yield from weight_and_bias("lm_head", (n_vocab, n_embd))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the keys in phi2's order."""
    write_counts(
        writer, config, "context_length", "embedding_length", "feed_forward_length", "block_count", "head_count"
    )
    writer.add_head_count_kv(n_head_kv(config))
    writer.add_layer_norm_eps(number(config, "layer_norm_eps"))
    writer.add_rope_dimension_count(rotary_dims(config, _ROTARY))
    write_unusual_rope_keys(writer, config)
    writer.add_file_type(file_type)
    writer.add_add_bos_token(False)


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary; GPT-2's pre-tokenizer is called phi-2 for these models."""
    found = load_vocabulary(folder, config, pre=pre)
    return msgspec.structs.replace(found, pre="phi-2") if pre is None and found.pre == "gpt-2" else found


FAMILY = Family(
    architectures=("PhiForCausalLM",),
    model_types=("phi",),
    arch="phi2",
    computed={"hidden_act": (None, *GELUS), "qk_layernorm": (None, False)},
    defaults={  # transformers' PhiConfig (4.57)
        "vocab_size": 51200,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5,
    },
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=vocabulary,
)
