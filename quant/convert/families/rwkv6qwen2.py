"""RWKV6Qwen2ForCausalLM: QRWKV6, a Qwen2 whose attention is RWKV 6's mix of tokens.

Source: conversion/rwkv.py and src/models/rwkv6qwen2.cpp of the pinned llama.cpp; the model's code is the repository's
own.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import SILU, Config, Family, n_head_kv, n_heads, need, number, require_whole_heads
from quant.convert.families.decoder import Decoder
from quant.convert.families.mamba import CONTEXT
from quant.convert.families.planned import Parts, Planned, weight_and_bias
from quant.convert.families.rwkv6 import FUSED

_WIDE = 4096  # the width from which the inner matrices of the mixes are twice as wide
_ORDER = (3, 1, 2, 0, 4)  # places in the checkpoint, where the mixes are those of r, k, v, w and g, in GGUF's order


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors: a Qwen2's but for attention."""
    for planned in Decoder().tensors({**config, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2}):
        if ".self_attn." not in planned.name:
            yield planned
    for layer in range(need(config, "num_hidden_layers")):
        yield from _time_mix(config, f"model.layers.{layer}.self_attn", layer)


def _time_mix(config: Config, name: str, layer: int) -> Iterator[Planned]:
    n_embd, target = need(config, "hidden_size"), f"blk.{layer}.time_mix"
    n_kv = n_embd // n_heads(config) * n_head_kv(config)
    n_mix, n_decay = need(config, "lora_rank_tokenshift"), need(config, "lora_rank_decay")
    one: tuple[int, ...] = (1, 1, n_embd)
    sources, n_mixes = tuple(f"{name}.time_maa_{part}" for part in FUSED), len(FUSED)
    yield Planned(name=f"{name}.time_maa_x", shape=(n_embd,), source_shape=one, target=f"{target}_lerp_x.weight")
    yield Planned(
        name=sources[0],
        shape=(n_mixes, 1, 1, n_embd),
        stacked=sources,
        source_shape=one,
        target=f"{target}_lerp_fused.weight",
    )
    for part, shape, source in (
        ("w1", (n_mixes * n_mix, n_embd), (n_embd, n_mixes * n_mix)),
        ("w2", (n_mixes, n_embd, n_mix), (n_mixes, n_mix, n_embd)),
    ):
        yield Planned(
            name=f"{name}.time_maa_{part}",
            shape=shape,
            source_shape=source,
            transposed=True,
            order=Parts(1, (n_mix if part == "w1" else n_embd,) * n_mixes, _ORDER),
            target=f"{target}_{part}.weight",
        )
    yield Planned(name=f"{name}.time_decay", shape=(n_embd,), source_shape=one, target=f"{target}_decay.weight")
    for part, shape in (("w1", (n_decay, n_embd)), ("w2", (n_embd, n_decay))):
        yield Planned(
            name=f"{name}.time_decay_{part}", shape=shape, transposed=True, target=f"{target}_decay_{part}.weight"
        )
    for part, rows in (("q_proj", n_embd), ("k_proj", n_kv), ("v_proj", n_kv)):
        if config["attention_bias"]:
            yield from weight_and_bias(f"{name}.{part}", (rows, n_embd))
        else:
            yield Planned(name=f"{name}.{part}.weight", shape=(rows, n_embd))
    for part in ("o_proj", "gate"):
        yield Planned(name=f"{name}.{part}.weight", shape=(n_embd, n_embd))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add rwkv6qwen2's keys."""
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(need(config, "hidden_size"))
    writer.add_block_count(need(config, "num_hidden_layers"))
    writer.add_wkv_head_size(need(config, "hidden_size") // n_heads(config))
    writer.add_time_mix_extra_dim(need(config, "lora_rank_tokenshift"))
    writer.add_time_decay_extra_dim(need(config, "lora_rank_decay"))
    writer.add_feed_forward_length(need(config, "intermediate_size"))
    writer.add_file_type(file_type)
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps"))
    writer.add_token_shift_count(1)
    writer.add_head_count_kv(n_head_kv(config))
    writer.add_head_count(0)


def _check(config: Config) -> None:
    require_whole_heads(need(config, "hidden_size"), n_heads(config))


FAMILY = Family(
    architectures=("RWKV6Qwen2ForCausalLM",),
    model_types=("rwkv6qwen2",),
    arch="rwkv6qwen2",
    computed={
        "hidden_act": SILU,
        "tie_word_embeddings": (None, False),
        "attention_output_bias": (None, False),
        "use_rope": (None, False),
    },
    defaults={  # as llama.cpp's converter states them; a Qwen2's
        "num_key_value_heads": n_heads,
        "rms_norm_eps": 1e-6,
        "attention_bias": True,
        "lora_rank_tokenshift": lambda config: 64 if need(config, "hidden_size") >= _WIDE else 32,
        "lora_rank_decay": lambda config: 128 if need(config, "hidden_size") >= _WIDE else 64,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
)
