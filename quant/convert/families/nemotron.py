"""NemotronForCausalLM: Minitron, Nemotron Mini and Nemotron 4. Norm weights are stored as weight - 1, and have biases.

Partial rotary, squared ReLU without a gate. Source: conversion/nemotron.py and src/models/nemotron.cpp of the pinned
llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import (
    Config,
    Family,
    as_number,
    first_of,
    n_heads,
    need,
    number,
    require_full_width,
    require_own_output,
    rope_parameters,
    rotary_dims,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.vocabulary import Vocabulary

_PAD, _UNK = 0, 1  # of every SentencePiece vocabulary of these models


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    attention, mlp = bool(config["attention_bias"]), bool(config["mlp_bias"])
    made = Decoder(
        qkv_bias=attention, output_bias=attention, mlp_bias=mlp, gated=False, norm_bias=True, norm_offset=1.0
    )
    return made.tensors(config)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, then nemotron's; a factor of the positions may stand beside the rope settings."""
    write_common_keys(writer, config, file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_layer_norm_eps(number(config, "norm_eps"))
    writer.add_rope_dimension_count(rotary_dims(config, 0.5))
    factor = first_of(config, "factor") or rope_parameters(config).get("factor")
    if factor is None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    else:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(as_number(factor, "factor"))


def vocabulary_keys(writer: gguf.GGUFWriter, config: Config, vocabulary: Vocabulary) -> None:
    """Add the special ids of a SentencePiece vocabulary."""
    if vocabulary.model == "llama":
        writer.add_pad_token_id(_PAD)
        writer.add_unk_token_id(_UNK)


def _check(config: Config) -> None:
    require_full_width(config)
    require_own_output(config)
    kind = rope_parameters(config).get("rope_type")
    if kind not in (None, "default", "linear"):
        raise UserError(f"config.json asks for the rope scaling '{kind}', which is not supported for this family")


FAMILY = Family(
    architectures=("NemotronForCausalLM",),
    model_types=("nemotron",),
    arch="nemotron",
    computed={"hidden_act": (None, "relu2"), **dict.fromkeys(("attention_bias", "mlp_bias"), (None, True, False))},
    defaults={  # transformers' NemotronConfig (4.57)
        "vocab_size": 256000,
        "hidden_size": 6144,
        "intermediate_size": 24576,
        "num_hidden_layers": 32,
        "num_attention_heads": 48,
        "num_key_value_heads": n_heads,
        "head_dim": lambda config: need(config, "hidden_size") // n_heads(config),
        "max_position_embeddings": 4096,
        "norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary_keys=vocabulary_keys,
)
