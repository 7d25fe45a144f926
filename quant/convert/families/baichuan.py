"""BaichuanForCausalLM: Baichuan and Baichuan 2, 7B and 13B. Queries, keys and values are one matrix; 13B has ALiBi.

llama.cpp decides by the number of layers: 32 have rotary positions, 40 have ALiBi, others have neither. Baichuan 2
divides the rows of its output matrix by their length, which its repositories advise to do once for other programs;
llama.cpp's converter does not. Source: conversion/baichuan.py and src/models/baichuan.cpp of the pinned llama.cpp; the
config's defaults are those of the models' own configuration_baichuan.py, the output matrix that of NormHead in their
modeling_baichuan.py.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import (
    SILU,
    Config,
    Family,
    first_of,
    head_dim,
    n_heads,
    need,
    require_full_width,
    require_own_output,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import From, Interleaved, Planned

_ROTARY_LAYERS, _ALIBI_LAYERS = 32, 40
_SECOND_VOCAB = 125696
_OUTPUT = "lm_head.weight"


def _renamed(config: Config) -> Config:
    """Rename the length of 13B, whose positions have no embeddings."""
    length = first_of(config, "max_position_embeddings", "model_max_length")
    return config if length is None else {**config, "max_position_embeddings": length}


def _is_second(config: Config) -> bool:
    """Return whether this is Baichuan 2: only its config has a weight of the loss that keeps logits small."""
    return "z_loss_weight" in config or need(config, "vocab_size") == _SECOND_VOCAB


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, heads = need(config, "hidden_size"), n_heads(config)
    parts = {"q": Interleaved(heads), "k": Interleaved(heads, n_embd), "v": From(2 * n_embd)}
    for planned in Decoder().tensors(config):
        block, _, part = planned.name.removesuffix("_proj.weight").rpartition(".")
        if planned.name == _OUTPUT:
            yield msgspec.structs.replace(planned, unit_rows=_is_second(config))
        elif part in parts:
            yield msgspec.structs.replace(
                planned,
                name=f"{block}.W_pack.weight",
                target=f"blk.{block.split('.')[2]}.attn_{part}.weight",
                source_shape=(3 * n_embd, n_embd),
                order=parts[part],
            )
        else:
            yield planned


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the layout's name and the rotary dimensions."""
    write_common_keys(writer, config, file_type)
    writer.add_tensor_data_layout("Meta AI original pth")
    writer.add_rope_dimension_count(head_dim(config))


def _check(config: Config) -> None:
    require_full_width(config)
    require_own_output(config)
    layers = need(config, "num_hidden_layers")
    if layers not in (_ROTARY_LAYERS, _ALIBI_LAYERS):
        raise UserError(
            f"config.json asks for {layers} layers; llama.cpp computes Baichuan with {_ROTARY_LAYERS} or "
            f"{_ALIBI_LAYERS}, choose another model"
        )


FAMILY = Family(
    architectures=("BaichuanForCausalLM", "BaiChuanForCausalLM"),
    model_types=("baichuan",),
    arch="baichuan",
    adapt=_renamed,
    computed={"hidden_act": SILU},
    defaults={
        "vocab_size": 64000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": _ROTARY_LAYERS,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
)
