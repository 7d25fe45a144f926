"""RWKV7ForCausalLM: RWKV 7 (Goose), as flash-linear-attention names its tensors.

Source: conversion/rwkv.py and src/models/rwkv7.cpp of the pinned llama.cpp; flash-linear-attention's RWKV7Config.
"""

from collections.abc import Callable, Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, need, number
from quant.convert.families.mamba import CONTEXT
from quant.convert.families.planned import Planned, weight_and_bias
from quant.convert.tokenizer.rwkv import rwkv_vocabulary

FUSED = ("r", "w", "k", "v", "a", "g")  # what the mixes with the token before are for, in GGUF's order
_RANKS = {"w": "decay_low_rank_dim", "v": "v_low_rank_dim", "a": "a_low_rank_dim", "g": "gate_low_rank_dim"}


def _rank(exponent: float, factor: float) -> Callable[[Config], int]:
    """Return the default of a rank: of a power of the width, to a multiple of 32."""
    return lambda config: max(1, round(need(config, "hidden_size") ** exponent * factor / 32)) * 32


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    yield Planned(name="model.embeddings.weight", shape=(n_vocab, n_embd))
    yield from weight_and_bias("model.layers.0.pre_norm", (n_embd,))
    for layer in range(need(config, "num_hidden_layers")):
        block, n_ff = f"model.layers.{layer}", need(config, "intermediate_size")
        for name, target in (("attn_norm", "attn_norm"), ("ffn_norm", "attn_norm_2"), ("attn.g_norm", "time_mix_ln")):
            for kind in ("weight", "bias"):
                yield Planned(name=f"{block}.{name}.{kind}", shape=(n_embd,), target=f"blk.{layer}.{target}.{kind}")
        yield from _time_mix(config, f"{block}.attn", layer)
        for part, shape in (("key", (n_ff, n_embd)), ("value", (n_embd, n_ff))):
            yield Planned(
                name=f"{block}.ffn.{part}.weight", shape=shape, target=f"blk.{layer}.channel_mix_{part}.weight"
            )
        yield Planned(name=f"{block}.ffn.x_k", shape=(n_embd,), target=f"blk.{layer}.channel_mix_lerp_k.weight")
    yield from weight_and_bias("model.norm", (n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd))


def _time_mix(config: Config, name: str, layer: int) -> Iterator[Planned]:
    n_embd, size, target = need(config, "hidden_size"), need(config, "head_dim"), f"blk.{layer}.time_mix"
    sources = tuple(f"{name}.x_{part}" for part in FUSED)
    yield Planned(
        name=sources[0],
        shape=(len(FUSED), 1, 1, n_embd),
        stacked=sources,
        source_shape=(1, 1, n_embd),
        target=f"{target}_lerp_fused.weight",
    )
    for part in ("k_k", "k_a"):
        yield Planned(name=f"{name}.{part}", shape=(n_embd,), target=f"{target}_{part}.weight")
    yield Planned(
        name=f"{name}.r_k", shape=(n_embd,), source_shape=(n_embd // size, size), target=f"{target}_r_k.weight"
    )
    for part, what in (("r", "receptance"), ("k", "key"), ("v", "value"), ("o", "output")):
        yield Planned(name=f"{name}.{part}_proj.weight", shape=(n_embd, n_embd), target=f"{target}_{what}.weight")
    for part in _RANKS:
        # The first layer mixes no values of a layer before; llama.cpp wants the tensors, and its converter takes a's.
        source = "a" if part == "v" and layer == 0 else part
        yield from _low_rank(f"{name}.{source}_lora.lora", need(config, _RANKS[source]), n_embd, f"{target}_{part}")


def _low_rank(name: str, rank: int, n_embd: int, target: str) -> Iterator[Planned]:
    yield Planned(name=f"{name}.0.weight", shape=(rank, n_embd), target=f"{target}1.weight")
    yield Planned(name=f"{name}.2.weight", shape=(n_embd, rank), target=f"{target}2.weight")
    if not target.endswith("_g"):
        yield Planned(name=f"{name}.2.bias", shape=(n_embd,), target=f"{target}0.weight")


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add rwkv7's keys."""
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(need(config, "hidden_size"))
    writer.add_block_count(need(config, "num_hidden_layers"))
    writer.add_layer_norm_eps(number(config, "norm_eps"))
    writer.add_wkv_head_size(need(config, "head_dim"))
    writer.add_decay_lora_rank(need(config, "decay_low_rank_dim"))
    writer.add_iclr_lora_rank(need(config, "a_low_rank_dim"))
    writer.add_value_residual_mix_lora_rank(need(config, "v_low_rank_dim"))
    writer.add_gate_lora_rank(need(config, "gate_low_rank_dim"))
    writer.add_feed_forward_length(need(config, "intermediate_size"))
    writer.add_file_type(file_type)
    writer.add_head_count(0)


def require_heads(config: Config, key: str = "head_dim") -> None:
    """Refuse heads that do not fill the width.

    Raises:
        UserError: llama.cpp would stop.
    """
    n_embd, size = need(config, "hidden_size"), need(config, key)
    if n_embd % size:
        raise UserError(f"config.json asks for heads of {size} values in a width of {n_embd}, which is no multiple")


FAMILY = Family(
    architectures=("RWKV7ForCausalLM", "Rwkv7ForCausalLM"),
    model_types=("rwkv7",),
    arch="rwkv7",
    computed={
        "hidden_act": (None, "sqrelu"),
        "tie_word_embeddings": (None, False),
        "norm_first": (None, True),
        "norm_bias": (None, True),
        "attn": (None,),
    },
    defaults={  # flash-linear-attention's RWKV7Config
        "vocab_size": 32000,
        "hidden_size": 2048,
        "num_hidden_layers": 24,
        "head_dim": 64,
        "norm_eps": 1e-5,
        "intermediate_size": lambda config: 4 * need(config, "hidden_size"),
        "decay_low_rank_dim": _rank(0.5, 1.8),
        "a_low_rank_dim": _rank(0.5, 1.8),
        "v_low_rank_dim": _rank(0.5, 1.3),
        "gate_low_rank_dim": _rank(0.8, 0.6),
    },
    check=require_heads,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=rwkv_vocabulary,
    ignored=tuple(f".layers.0.attn.v_lora.lora.{part}" for part in ("0.weight", "2.weight", "2.bias")),
)
