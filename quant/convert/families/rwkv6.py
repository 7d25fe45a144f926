"""Rwkv6ForCausalLM: RWKV 6 (Finch). A state per head that tokens are mixed into, and a mix of channels.

Source: conversion/rwkv.py and src/models/rwkv6.cpp of the pinned llama.cpp; the model's code is the repository's own.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import Config, Family, need, number
from quant.convert.families.mamba import CONTEXT
from quant.convert.families.planned import Planned, weight_and_bias
from quant.convert.families.rwkv7 import require_heads
from quant.convert.tokenizer.rwkv import rwkv_vocabulary

_LARGE = 4096  # the width from which the inner matrices of the mixes are twice as wide
FUSED = ("w", "k", "v", "r", "g")  # what the mixes with the token before are for, in GGUF's order


def _extra(config: Config, small: int) -> int:
    return 2 * small if need(config, "hidden_size") == _LARGE else small


def _n_feed_forward(config: Config) -> int:
    # int((n * 3.5) // 32 * 32), in whole numbers.
    return need(config, "hidden_size") * 7 // 64 * 32


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    yield Planned(name="rwkv.embeddings.weight", shape=(n_vocab, n_embd))
    yield from weight_and_bias("rwkv.blocks.0.pre_ln", (n_embd,))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"rwkv.blocks.{layer}"
        for name in ("ln1", "ln2", "attention.ln_x"):
            yield from weight_and_bias(f"{block}.{name}", (n_embd,))
        yield from _time_mix(config, f"{block}.attention", layer)
        yield from _channel_mix(config, f"{block}.feed_forward", layer)
    yield from weight_and_bias("rwkv.ln_out", (n_embd,))
    yield Planned(name="head.weight", shape=(n_vocab, n_embd))


def _time_mix(config: Config, name: str, layer: int) -> Iterator[Planned]:
    n_embd, size = need(config, "hidden_size"), need(config, "head_size")
    n_mix, n_decay, target = _extra(config, 32), _extra(config, 64), f"blk.{layer}.time_mix"
    one: tuple[int, ...] = (1, 1, n_embd)
    sources = tuple(f"{name}.time_maa_{part}" for part in FUSED)
    yield Planned(name=f"{name}.time_maa_x", shape=(n_embd,), source_shape=one, target=f"{target}_lerp_x.weight")
    yield Planned(
        name=sources[0],
        shape=(len(FUSED), 1, 1, n_embd),
        stacked=sources,
        source_shape=one,
        target=f"{target}_lerp_fused.weight",
    )
    for part, shape in (("w1", (len(FUSED) * n_mix, n_embd)), ("w2", (len(FUSED), n_embd, n_mix))):
        source: tuple[int, ...] = (*shape[:-2], shape[-1], shape[-2])
        yield Planned(
            name=f"{name}.time_maa_{part}",
            shape=shape,
            source_shape=source,
            transposed=True,
            target=f"{target}_{part}.weight",
        )
    yield Planned(name=f"{name}.time_decay", shape=(n_embd,), source_shape=one, target=f"{target}_decay.weight")
    for part, shape in (("w1", (n_decay, n_embd)), ("w2", (n_embd, n_decay))):
        yield Planned(
            name=f"{name}.time_decay_{part}", shape=shape, transposed=True, target=f"{target}_decay_{part}.weight"
        )
    yield Planned(name=f"{name}.time_faaaa", shape=(n_embd // size, size), target=f"{target}_first.weight")
    for part in ("receptance", "key", "value", "gate"):
        yield Planned(name=f"{name}.{part}.weight", shape=(n_embd, n_embd))
    yield Planned(name=f"{name}.output.weight", shape=(n_embd, n_embd), scale=_scale(config, layer))


def _channel_mix(config: Config, name: str, layer: int) -> Iterator[Planned]:
    n_embd, n_ff = need(config, "hidden_size"), need(config, "intermediate_size")
    for part in ("k", "r"):
        yield Planned(
            name=f"{name}.time_maa_{part}",
            shape=(n_embd,),
            source_shape=(1, 1, n_embd),
            target=f"blk.{layer}.channel_mix_lerp_{part}.weight",
        )
    yield Planned(name=f"{name}.key.weight", shape=(n_ff, n_embd))
    yield Planned(name=f"{name}.receptance.weight", shape=(n_embd, n_embd))
    yield Planned(name=f"{name}.value.weight", shape=(n_embd, n_ff), scale=_scale(config, layer))


def _scale(config: Config, layer: int) -> float:
    """Return the factor of what a layer adds: the stream is halved after each few layers, so that float16 holds it."""
    every = config["rescale_every"]
    return 1 / 2 ** (layer // every) if every else 1.0


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add rwkv6's keys."""
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(need(config, "hidden_size"))
    writer.add_block_count(need(config, "num_hidden_layers"))
    writer.add_layer_norm_eps(number(config, "layer_norm_epsilon"))
    writer.add_rescale_every_n_layers(config["rescale_every"])
    writer.add_wkv_head_size(need(config, "head_size"))
    writer.add_time_mix_extra_dim(_extra(config, 32))
    writer.add_time_decay_extra_dim(_extra(config, 64))
    writer.add_feed_forward_length(need(config, "intermediate_size"))
    writer.add_file_type(file_type)
    writer.add_head_count(0)


def _check(config: Config) -> None:
    if config["rescale_every"] != 0:
        need(config, "rescale_every")
    require_heads(config, "head_size")


FAMILY = Family(
    architectures=("Rwkv6ForCausalLM",),
    model_types=("rwkv6",),
    arch="rwkv6",
    computed={"tie_word_embeddings": (None, False)},
    defaults={  # the repositories' own Rwkv6Config
        "vocab_size": 65536,
        "hidden_size": 768,
        "num_hidden_layers": 24,
        "head_size": 64,
        "layer_norm_epsilon": 1e-5,
        "intermediate_size": _n_feed_forward,
        "rescale_every": 6,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=rwkv_vocabulary,
)
