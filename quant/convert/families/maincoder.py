"""MaincoderForCausalLM: Maincoder-1B. Queries and keys are normed after their rotation, whose pairs are adjacent rows.

Source: conversion/maincoder.py of the pinned llama.cpp, and its src/models/maincoder.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, head_dim, need, usual_head_dim
from quant.convert.families.decoder import Decoder, gated
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned


def _feed_forward(config: Config, layer: int) -> Iterator[Planned]:
    return gated(f"model.layers.{layer}.feed_forward", need(config, "hidden_size"), need(config, "intermediate_size"))


def _check(config: Config) -> None:
    width, other = need(config, "intermediate_size"), config.get("intermediate_size_mlp")
    if other not in (None, width):
        raise UserError(
            f"config.json has intermediate_size = {width} and intermediate_size_mlp = {str(other)[:80]}, which differ; "
            "choose another model"
        )


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and the rotary dimensions."""
    write_common_keys(writer, config, file_type)
    writer.add_rope_dimension_count(head_dim(config))


FAMILY = Family(
    architectures=("MaincoderForCausalLM",),
    model_types=("maincoder",),
    arch="maincoder",
    computed={"hidden_act": SILU, "use_qk_norm": (None, True)},
    defaults={  # configuration_maincoder.py of Maincode/Maincoder-1B
        "num_key_value_heads": 4,
        "head_dim": usual_head_dim(96),
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": True,
    },
    check=_check,
    tensors=Decoder(qk_norms="head", feed_forward=_feed_forward).tensors,
    write_keys=write_keys,
)
