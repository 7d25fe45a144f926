"""OpenELMForCausalLM: each layer has its own number of heads and feed-forward width; the output is tied.

The model's code and config class are the repository's own. Its tokenizer is Llama 2's, which the repository lacks.
Source: conversion/openelm.py of the pinned llama.cpp, and the configs of the OpenELM repositories.
"""

from collections.abc import Iterator
from pathlib import Path

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import (
    Config,
    Family,
    as_number,
    head_dim,
    need,
    need_list,
)
from quant.convert.families.planned import From, Planned
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

_EPSILON = 1e-6  # a constant of the model's code


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; gate and up are one tensor in the checkpoint."""
    n_embd, size = need(config, "model_dim"), head_dim(config)
    yield Planned(name="transformer.token_embeddings.weight", shape=(need(config, "vocab_size"), n_embd))
    shapes = zip(_heads(config, "num_query_heads"), _heads(config, "num_kv_heads"), ffn_lengths(config), strict=True)
    for layer, (heads, heads_kv, n_ff) in enumerate(shapes):
        block = f"transformer.layers.{layer}"
        for name, shape in (
            ("attn.qkv_proj", ((heads + 2 * heads_kv) * size, n_embd)),
            ("attn.q_norm", (size,)),
            ("attn.k_norm", (size,)),
            ("attn.out_proj", (n_embd, heads * size)),
            ("attn_norm", (n_embd,)),
            ("ffn.proj_2", (n_embd, n_ff)),
            ("ffn_norm", (n_embd,)),
        ):
            yield Planned(name=f"{block}.{name}.weight", shape=shape)
        for number, part in enumerate(("gate", "up")):
            yield Planned(
                name=f"{block}.ffn.proj_1.weight",
                shape=(n_ff, n_embd),
                target=f"blk.{layer}.ffn_{part}.weight",
                source_shape=(2 * n_ff, n_embd),
                order=From(number * n_ff),
            )
    yield Planned(name="transformer.norm.weight", shape=(n_embd,))


def _heads(config: Config, key: str) -> list[int]:
    return need_list(config, key, need(config, "num_transformer_layers"))


def ffn_lengths(config: Config) -> list[int]:
    """Return each layer's feed-forward width: multiplier times model width, rounded, but at most 10 % down.

    Raises:
        UserError: the multipliers are no list of positive numbers, one per layer.
    """
    layers, divisor = need(config, "num_transformer_layers"), need(config, "ffn_dim_divisor")
    multipliers = config.get("ffn_multipliers")
    if not isinstance(multipliers, list) or len(multipliers) != layers:
        raise UserError(
            f"config.json has ffn_multipliers = {str(multipliers)[:80]}, which must be a list of {layers} numbers"
        )
    lengths = []
    for multiplier in multipliers:
        wanted = as_number(multiplier, "ffn_multipliers") * need(config, "model_dim")
        if not 0 < wanted < 1 << 31:
            raise UserError(f"config.json has {multiplier!r} among ffn_multipliers, which must be positive numbers")
        length = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
        lengths.append(length + divisor if length < 0.9 * wanted else length)
    return lengths


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add openelm's keys, three of them with a value per layer."""
    size = head_dim(config)
    writer.add_block_count(need(config, "num_transformer_layers"))
    writer.add_context_length(need(config, "max_context_length"))
    writer.add_embedding_length(need(config, "model_dim"))
    writer.add_feed_forward_length(ffn_lengths(config))
    writer.add_head_count(_heads(config, "num_query_heads"))
    writer.add_head_count_kv(_heads(config, "num_kv_heads"))
    writer.add_rope_freq_base(as_number(config["rope_freq_constant"], "rope_freq_constant"))
    writer.add_layer_norm_rms_eps(_EPSILON)
    writer.add_rope_dimension_count(size)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_file_type(file_type)


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary, which the user adds to the folder.

    Raises:
        UserError: there is none.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.model", "tokenizer.json")):
        raise UserError(
            f"{folder} has no tokenizer, as OpenELM's repositories have none; put Llama 2's tokenizer.model there"
        )
    return load_vocabulary(folder, config, pre=pre)


FAMILY = Family(
    architectures=("OpenELMForCausalLM",),
    model_types=("openelm",),
    arch="openelm",
    computed={
        "ffn_with_glu": (None, True),
        "normalize_qk_projections": (True,),
        "share_input_output_layers": (True,),
        "activation_fn_name": (None, "swish", "silu"),
        "normalization_layer_name": (None, "rms_norm"),
    },
    defaults={  # OpenELM's own config class
        "vocab_size": 32000,
        "max_context_length": 2048,
        "rope_freq_constant": 10000,
        "ffn_dim_divisor": 256,
    },
    check=lambda config: need(config, "head_dim"),
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=vocabulary,
    layers_key="num_transformer_layers",
)
