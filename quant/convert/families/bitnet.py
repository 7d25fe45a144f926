"""BitnetForCausalLM: BitNet b1.58 of 1bitLLM, whose layers compute with weights of three values.

llama.cpp's bitnet has SiLU; Microsoft's BitNetForCausalLM squares a ReLU instead, and is refused by it.
Source: conversion/bitnet.py and src/models/bitnet.cpp of the pinned llama.cpp; the configs of 1bitLLM's repositories.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import (
    Config,
    Family,
    n_heads,
    need,
    refuse_unless,
    require_full_width,
    rope_parameters,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned

# Norms before the last matrix of attention and of the feed-forward part, by the config's class.
_NORMS = {
    "BitnetForCausalLM": ("self_attn.inner_attn_ln", "mlp.ffn_layernorm"),
    "BitNetForCausalLM": ("self_attn.attn_sub_norm", "mlp.ffn_sub_norm"),
}
_PLAIN = Decoder(head=False)


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    attention, mlp = _NORMS.get(str((config.get("architectures") or [""])[0]), _NORMS["BitnetForCausalLM"])
    for planned in _PLAIN.tensors(config):
        yield msgspec.structs.replace(planned, ternary=planned.name.endswith("_proj.weight"))
    for layer in range(need(config, "num_hidden_layers")):
        for name, size, target in (
            (attention, need(config, "hidden_size"), "attn_sub_norm"),
            (mlp, need(config, "intermediate_size"), "ffn_sub_norm"),
        ):
            yield Planned(
                name=f"model.layers.{layer}.{name}.weight", shape=(size,), target=f"blk.{layer}.{target}.weight"
            )


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, and a scaling of the rotary embedding by one."""
    write_common_keys(writer, config, file_type)
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(1.0)


def _check(config: Config) -> None:
    require_full_width(config)
    refuse_unless(rope_parameters(config), "rope_type", (None, "default"))


FAMILY = Family(
    architectures=("BitnetForCausalLM", "BitNetForCausalLM"),
    model_types=("bitnet",),
    arch="bitnet",
    computed={"hidden_act": ("silu",), "attention_bias": (None, False), "tie_word_embeddings": (True,)},
    defaults={  # of the BitnetConfig in 1bitLLM's repositories, which is transformers' LlamaConfig
        "num_key_value_heads": n_heads,
        "head_dim": lambda config: need(config, "hidden_size") // n_heads(config),
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
)
