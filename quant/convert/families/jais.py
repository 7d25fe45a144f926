"""JAISLMHeadModel: Jais 590M to 13B. GPT-2's tensors with a gate, ALiBi, scales of embeddings and logits.

The scales go into the matrices, as llama.cpp's converter does. Attention is divided by the heads' size, not its root.
Of tied matrices one may be missing; llama.cpp needs both, and they have different scales. Source: conversion/jais.py
and src/models/jais.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, is_tied, need, number, require_whole_heads
from quant.convert.families.gpt import EMBEDDING, OUTPUT, Gpt, write_gpt_keys
from quant.convert.families.planned import Planned

_MAX_BIAS = 8.0  # that the slopes in these checkpoints begin with


def _renamed(config: Config) -> Config:
    """Bring the scales to one name: later configs call them by the method that set them."""
    made = dict(config)
    for key in ("embeddings_scale", "scale_qk_dot_by_d"):
        if config.get(f"mup_{key}") is not None:
            made[key] = config[f"mup_{key}"]
    if config.get("mup_output_alpha") is not None:
        made["width_scale"] = number(config, "mup_output_alpha") * number(config, "mup_width_scale")
    return made


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; a tied output matrix is the embedding with another scale."""
    scales = {EMBEDDING: number(config, "embeddings_scale"), OUTPUT: number(config, "width_scale")}
    for planned in Gpt(positions=False, transposed=True, gated=True).tensors(config):
        made = msgspec.structs.replace(planned, scale=scales.get(planned.name, 1.0))
        if planned.name == OUTPUT:
            made = msgspec.structs.replace(made, optional=False, instead=EMBEDDING if is_tied(config) else None)
        yield made


def early_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add the largest bias, which llama.cpp's converter writes before the other keys."""
    writer.add_max_alibi_bias(_MAX_BIAS)


def _check(config: Config) -> None:
    require_whole_heads(need(config, "n_embd"), need(config, "n_head"))
    if not number(config, "embeddings_scale") or not number(config, "width_scale"):
        raise UserError("config.json has a scale of zero for embeddings or logits; choose another model")


FAMILY = Family(
    architectures=("JAISLMHeadModel",),
    model_types=("jais",),
    arch="jais",
    adapt=_renamed,
    computed={
        "activation_function": ("swiglu",),
        "position_embedding_type": ("alibi",),
        "scale_qk_dot_by_d": (True,),
        "scale_attn_weights": (None, True),
        "scale_attn_by_inverse_layer_idx": (None, False),
        "alibi_scaling": (None,),
    },
    defaults={  # the models' own configuration_jais.py
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_inner": lambda config: 4 * need(config, "n_embd"),
        "layer_norm_epsilon": 1e-5,
        "embeddings_scale": 1.0,
        "width_scale": 1.0,
        "tie_word_embeddings": True,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_gpt_keys,
    early_keys=early_keys,
    layers_key="n_layer",
    base_prefix="transformer.",
    ignored=(".relative_pe.slopes", ".attn.bias", ".attn.masked_bias"),
)
