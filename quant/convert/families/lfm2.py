"""Lfm2ForCausalLM: LFM2 and LFM2.5. Short convolutions, and attention in some layers with norms of queries and keys.

Source: conversion/lfm2.py and src/models/lfm2.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import Config, Family, head_dim, is_tied, n_head_kv, need, number
from quant.convert.families.hybrid import attention, layer_kinds, require_full_width
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned
from quant.convert.families.state_space import convolution

CONV, ATTENTION = "conv", "full_attention"


def adapt(config: Config) -> Config:
    """Return a config with the settings' later names. Source: transformers' Lfm2Config (4.57)."""
    n_layers, listed = config.get("num_hidden_layers", 32), config.get("full_attn_idxs")
    if config.get("layer_types") is None and type(n_layers) is int:
        attending = listed if isinstance(listed, list) else range(n_layers)
        kinds = [ATTENTION if layer in attending else CONV for layer in range(min(n_layers, 512))]
        config = {**config, "layer_types": kinds}
    if config.get("block_ff_dim") is not None:
        config = {**config, "intermediate_size": config["block_ff_dim"]}
    if config.get("tie_embedding") is not None:
        config = {**config, "tie_word_embeddings": config["tie_embedding"]}
    return config


def check(config: Config) -> None:
    """Refuse what llama.cpp's lfm2 does not compute."""
    layer_kinds(config, "layer_types", (CONV, ATTENTION))
    require_full_width(config, "lfm2")


def n_feed_forward(config: Config) -> int:
    """Return the width of the feed-forward part, which some configs state before it is made smaller and rounded."""
    width = need(config, "intermediate_size")
    if not config["block_auto_adjust_ff_dim"]:
        return width
    multiple = need(config, "block_multiple_of")
    adjusted = int(2 * width / 3)
    if config.get("block_ffn_dim_multiplier") is not None:
        adjusted = int(number(config, "block_ffn_dim_multiplier") * adjusted)
    return need({"intermediate_size": -(-adjusted // multiple) * multiple}, "intermediate_size")


def mixer(config: Config, layer: int) -> Iterator[Planned]:
    """Yield a layer's convolution or attention, and its two norms."""
    block, n_embd, size = f"model.layers.{layer}", need(config, "hidden_size"), head_dim(config)
    if config["layer_types"][layer] == CONV:
        yield from convolution(f"{block}.conv.conv", n_embd, need(config, "conv_L_cache"), bias=False)
        yield Planned(name=f"{block}.conv.in_proj.weight", shape=(3 * n_embd, n_embd))
        yield Planned(name=f"{block}.conv.out_proj.weight", shape=(n_embd, n_embd))
    else:
        yield from attention(config, f"{block}.self_attn", output="out_proj")
        for name in ("q_layernorm", "k_layernorm"):
            yield Planned(name=f"{block}.self_attn.{name}.weight", shape=(size,))
    for name in ("operator_norm", "ffn_norm"):
        yield Planned(name=f"{block}.{name}.weight", shape=(n_embd,))


def feed_forward(name: str, n_embd: int, n_ff: int) -> Iterator[Planned]:
    """Yield a feed-forward part."""
    for part, shape in (("w1", (n_ff, n_embd)), ("w3", (n_ff, n_embd)), ("w2", (n_embd, n_ff))):
        yield Planned(name=f"{name}.{part}.weight", shape=shape)


def around(config: Config) -> Iterator[Planned]:
    """Yield what is not in a layer: the embedding, the last norm, the output matrix."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    yield Planned(name="model.embedding_norm.weight", shape=(n_embd,))
    output = "output.weight"  # gguf knows none for lfm2moe; llama.cpp reads it
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), target=output, optional=is_tied(config))


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    yield from around(config)
    for layer in range(need(config, "num_hidden_layers")):
        yield from mixer(config, layer)
        block = f"model.layers.{layer}.feed_forward"
        yield from feed_forward(block, need(config, "hidden_size"), n_feed_forward(config))


def write_head_counts(writer: gguf.GGUFWriter, config: Config) -> None:
    """Replace the number of key and value heads by each layer's: none in convolutions."""
    writer.add_head_count_kv([0 if kind == CONV else n_head_kv(config) for kind in config["layer_types"]])


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and those of the convolutions."""
    write_common_keys(writer, config, file_type)
    write_head_counts(writer, config)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_shortconv_l_cache(need(config, "conv_L_cache"))
    writer.add_feed_forward_length(n_feed_forward(config))


FAMILY = Family(
    architectures=("Lfm2ForCausalLM", "LFM2ForCausalLM"),
    model_types=("lfm2",),
    arch="lfm2",
    adapt=adapt,
    computed={"conv_bias": (None, False), "sliding_window": (None,)},
    defaults={  # transformers' Lfm2Config (4.57)
        "intermediate_size": 12288,
        "num_key_value_heads": 8,
        "max_position_embeddings": 128000,
        "norm_eps": 1e-5,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": True,
        "conv_L_cache": 3,
        "block_multiple_of": 256,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": True,
    },
    sizes={
        "vocab_size": 65536,
        "hidden_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    check=check,
    tensors=tensors,
    write_keys=write_keys,
)
