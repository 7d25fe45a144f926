"""StableLmForCausalLM: StableLM-3B-4E1T, StableLM 2, Stable Code. Norms have biases; partial rotary.

Their first configs name the class StableLMEpochForCausalLM; a model that sees with one is Obsidian.
StableLM 2 12B computes attention and feed-forward in parallel, and has norms for each head's queries and keys.
Source: conversion/stablelm.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import (
    SILU,
    Config,
    Family,
    as_number,
    first_of,
    head_dim,
    n_head_kv,
    need,
    require_whole_heads,
    rotary_dims,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_counts, write_unusual_rope_keys
from quant.convert.families.planned import Planned


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    parallel = bool(config["use_parallel_residual"])
    norms = ("input_layernorm",) if parallel else ("input_layernorm", "post_attention_layernorm")
    yield from Decoder(qkv_bias=bool(config.get("use_qkv_bias")), norms=norms, norm_bias=True).tensors(config)
    if config.get("qk_layernorm"):
        for layer in range(need(config, "num_hidden_layers")):
            block = f"model.layers.{layer}"
            for part, heads in (("q", need(config, "num_attention_heads")), ("k", n_head_kv(config))):
                names = tuple(f"{block}.self_attn.{part}_layernorm.norms.{head}.weight" for head in range(heads))
                yield Planned(
                    name=names[0],
                    shape=(heads, head_dim(config)),
                    target=f"blk.{layer}.attn_{part}_norm.weight",
                    stacked=names,
                )


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add stablelm's keys."""
    write_counts(writer, config, "context_length", "embedding_length", "block_count", "feed_forward_length")
    writer.add_rope_dimension_count(rotary_dims(config, 0.25))
    writer.add_head_count(need(config, "num_attention_heads"))
    writer.add_head_count_kv(n_head_kv(config))
    writer.add_parallel_residual(bool(config["use_parallel_residual"]))
    writer.add_layer_norm_eps(as_number(config["layer_norm_eps"], "layer_norm_eps"))
    writer.add_file_type(file_type)
    write_unusual_rope_keys(writer, config)


FAMILY = Family(
    architectures=("StableLmForCausalLM", "StableLMEpochForCausalLM", "LlavaStableLMEpochForCausalLM"),
    model_types=("stablelm", "stablelm_epoch"),
    arch="stablelm",
    computed={
        "hidden_act": SILU,
        "tie_word_embeddings": (None, False),
        **dict.fromkeys(("use_parallel_residual", "use_qkv_bias", "qk_layernorm"), (None, True, False)),
    },
    defaults={  # transformers' StableLmConfig (4.57)
        "vocab_size": 50304,
        "hidden_size": 2560,
        "intermediate_size": 6912,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "layer_norm_eps": lambda config: first_of(config, "norm_eps") or 1e-5,
        "use_parallel_residual": False,
    },
    check=lambda config: require_whole_heads(need(config, "hidden_size"), need(config, "num_attention_heads")),
    tensors=tensors,
    write_keys=write_keys,
    omitted=("model.vision_tower.", "model.mm_projector."),
)
