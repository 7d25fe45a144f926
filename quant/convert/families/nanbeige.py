"""NanbeigeForCausalLM: Nanbeige 4.2. A Llama whose layers are computed several times, each time with its own cache.

Source: conversion/nanbeige.py of the pinned llama.cpp and its src/models/nanbeige.cpp, which has the loops and the norm
between them, and none of the other settings of configuration_nanbeige.py in Nanbeige/Nanbeige4.2-3B.
"""

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import MAX_LAYERS, SILU, Config, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.llama import FAMILY as LLAMA
from quant.convert.families.llama import write_keys as write_llama_keys

_OFF = (None, False)


def _loops(config: Config) -> int:
    return need(config, "num_loops", 1)


def _check(config: Config) -> None:
    computed = need(config, "num_hidden_layers") * _loops(config)
    if computed > MAX_LAYERS:
        raise UserError(
            f"config.json asks for {computed} layers in {_loops(config)} loops; llama.cpp takes {MAX_LAYERS} at most"
        )


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add llama's keys, the number of loops and whether they have no norm between them."""
    write_llama_keys(writer, config, file_type)
    writer.add_uint32("nanbeige.num_loops", _loops(config))
    writer.add_bool("nanbeige.skip_loop_final_norm", bool(config.get("skip_loop_final_norm")))


FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("NanbeigeForCausalLM",),
    model_types=("nanbeige",),
    arch="nanbeige",
    named_as="llama",
    computed={
        "hidden_act": SILU,
        "emb_neighbor_num": (None,),
        "loop_loss_weights": (None, []),
        "yarn_scale": (None, 1, 1.0),  # of Nanbeige 2, which has the same class
        **dict.fromkeys(("attention_bias", "qk_layernorm", "loop_share_kv"), _OFF),
        **dict.fromkeys(("enable_hyper_connection", "enable_depth_attention", "enable_double_loop_split"), _OFF),
    },
    defaults={"num_loops": 1},  # the published config states all else
    sizes={},
    check=_check,
    tensors=Decoder(interleave=True).tensors,
    write_keys=write_keys,
)
