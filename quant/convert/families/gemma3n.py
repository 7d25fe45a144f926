"""Gemma3nForCausalLM and the text model of Gemma3nForConditionalGeneration: Gemma 3n E2B and E4B.

Gemma 3's attention with four streams instead of one (AltUp), an embedding of each token for each layer, a low-rank
path beside attention, and last layers that use the keys and values of earlier ones. llama.cpp has most numbers as
constants. The vision and audio parts are omitted.
Source: conversion/gemma.py, src/models/gemma3n.cpp and src/llama-hparams.h of the pinned llama.cpp.
"""

import math
from collections.abc import Iterator
from statistics import NormalDist

import gguf
import numpy as np

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, need, need_list, number
from quant.convert.families.decoder import Decoder, matrices
from quant.convert.families.gemma import spaced_vocabulary
from quant.convert.families.gemma2 import NORMS
from quant.convert.families.keys import window_layers, write_common_keys
from quant.convert.families.per_layer import check_shared, embeddings, shared_layers
from quant.convert.families.planned import Planned, Shape

_PATTERN = 5  # layers of a group whose last one has no window
_STREAMS, _RANK, _PER_LAYER = 4, 64, 256
_OWN_KEYS = 20  # layers that have keys and values of their own
_SPARSE_LAYERS, _SPARSITY = 10, 0.95
# The standard normal distribution's quantile of the share that is cut off.
_QUANTILES = {_SPARSITY: float(np.float32(NormalDist().inv_cdf(_SPARSITY))), 0.0: -math.inf}


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd = need(config, "hidden_size")
    yield from Decoder(norms=NORMS, qk_norms="head").tensors(config)
    yield from embeddings(config, _PER_LAYER)
    for name, target in (("altup_projections", "altup_proj"), ("altup_unembed_projections", "altup_unembd_proj")):
        names = tuple(f"model.{name}.{stream}.weight" for stream in range(_STREAMS - 1))
        yield Planned(name=names[0], shape=(_STREAMS - 1, n_embd, n_embd), target=f"{target}.weight", stacked=names)
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        target = f"blk.{layer}.altup_correct_scale.weight"
        yield Planned(name=f"{block}.altup.correct_output_scale", shape=(n_embd,), target=target)
        parts: dict[str, Shape] = {
            "altup.correction_coefs": (_STREAMS, _STREAMS),
            "altup.prediction_coefs": (_STREAMS * _STREAMS, _STREAMS),
            "altup.modality_router": (_STREAMS, n_embd),
            "altup.router_norm": (n_embd,),
            "laurel.linear_left": (_RANK, n_embd),
            "laurel.linear_right": (n_embd, _RANK),
            "laurel.post_laurel_norm": (n_embd,),
        }
        yield from matrices(block, parts)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add Gemma 3's keys, and those of the streams, the shared layers and the windows."""
    write_common_keys(writer, config, file_type)
    writer.add_feed_forward_length([need(config, "intermediate_size")] * need(config, "num_hidden_layers"))
    writer.add_final_logit_softcapping(number(config, "final_logit_softcapping"))
    writer.add_sliding_window(need(config, "sliding_window"))
    writer.add_altup_active_idx(0)
    writer.add_altup_num_inputs(_STREAMS)
    writer.add_embedding_length_per_layer_input(_PER_LAYER)
    writer.add_shared_kv_layers(shared_layers(config))
    writer.add_activation_sparsity_scale([_QUANTILES[share] for share in _sparsity(config)])
    writer.add_sliding_window_pattern(window_layers(config, _PATTERN))


def _sparsity(config: Config) -> list[float]:
    """Return the share of the feed-forward part's gates that llama.cpp cuts off in each layer."""
    return [_SPARSITY if layer < _SPARSE_LAYERS else 0.0 for layer in range(need(config, "num_hidden_layers"))]


def _one_width(config: Config) -> Config:
    """Return the config with one feed-forward width, which configs list for each layer.

    Raises:
        UserError: the layers have several, or the logits are not capped.
    """
    if config.get("final_logit_softcapping", 0.0) is None:
        raise UserError("config.json has final_logit_softcapping = null; llama.cpp's gemma3n always caps by 30")
    if not isinstance(config.get("intermediate_size"), list):
        return config
    widths = need_list(config, "intermediate_size", need(config, "num_hidden_layers", 35))
    if len(set(widths)) > 1:
        raise UserError(
            f"config.json has intermediate_size = {str(widths)[:80]}, and llama.cpp's gemma3n has one for all layers; "
            "choose another model"
        )
    return {**config, "intermediate_size": widths[0]}


def _check(config: Config) -> None:
    n_layers = need(config, "num_hidden_layers")
    if n_layers - shared_layers(config) != min(n_layers, _OWN_KEYS):
        raise UserError(
            f"config.json has {n_layers} layers of which {shared_layers(config)} are shared; llama.cpp's gemma3n "
            f"shares all behind the first {_OWN_KEYS}; choose another model"
        )
    check_shared(config, window_layers(config, _PATTERN))
    found = config.get("activation_sparsity_pattern")
    usual = _sparsity(config) if n_layers > _SPARSE_LAYERS else [0.0] * n_layers
    if (usual if found is None else found) != _sparsity(config):
        raise UserError(
            f"config.json has activation_sparsity_pattern = {str(found)[:80]}; llama.cpp's gemma3n has {_SPARSITY} in "
            f"the first {_SPARSE_LAYERS} layers and 0 in the others; choose another model"
        )


FAMILY = Family(
    architectures=("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"),
    model_types=("gemma3n_text", "gemma3n"),
    arch="gemma3n",
    base_prefix="model.",
    adapt=_one_width,
    computed={
        "hidden_activation": (None, "gelu_pytorch_tanh"),
        "attention_bias": (None, False),
        "final_logit_softcapping": (None, 30.0),
        "altup_active_idx": (None, 0),
        "altup_correct_scale": (None, True),
        "altup_num_inputs": (None, _STREAMS),
        "hidden_size_per_layer_input": (None, _PER_LAYER),
        "laurel_rank": (None, _RANK),
    },
    defaults={  # transformers' Gemma3nTextConfig (4.57)
        "vocab_size": 262400,
        "vocab_size_per_layer_input": 262144,
        "hidden_size": 2048,
        "intermediate_size": 16384,
        "num_hidden_layers": 35,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "sliding_window": 512,
        "final_logit_softcapping": 30.0,
        "num_kv_shared_layers": 15,
        "tie_word_embeddings": True,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=spaced_vocabulary,
)
