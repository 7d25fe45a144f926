"""NemotronHForCausalLM without experts: Mamba 2, attention, or a feed-forward part; one of them in each layer.

Source: conversion/nemotron.py and src/models/nemotron-h.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, first_of, n_head_kv, need
from quant.convert.families.hybrid import attention
from quant.convert.families.keys import write_common_keys
from quant.convert.families.mamba import CONTEXT, around
from quant.convert.families.mamba2 import NO_LIMIT
from quant.convert.families.planned import Planned
from quant.convert.families.state_space import Mamba2, vocabulary_in_steps

_STATE, _ATTENTION, _FEED_FORWARD = "mamba", "attention", "mlp"
# The characters of hybrid_override_pattern, and the names of transformers 5.
_KINDS = {
    "M": _STATE, "*": _ATTENTION, "-": _FEED_FORWARD, "mamba": _STATE, "linear_attention": _STATE,
    "attention": _ATTENTION, "full_attention": _ATTENTION, "mlp": _FEED_FORWARD,
}  # fmt: skip
_STEP = 8  # of the vocabulary


def _adapt(config: Config) -> Config:
    """Return a config with one kind per layer and one name of each setting."""
    listed = first_of(config, "layers_block_type", "hybrid_override_pattern")
    config = vocabulary_in_steps(_STEP, config)
    if isinstance(listed, list | str):
        config |= {"layer_types": list(listed), "num_hidden_layers": len(listed)}
    if config.get("head_dim") is None and config.get("attention_head_dim") is not None:
        config["head_dim"] = config["attention_head_dim"]
    return config


def _kinds(config: Config) -> list[str]:
    listed = config.get("layer_types")
    if not isinstance(listed, list) or any(str(kind) not in _KINDS for kind in listed):
        raise UserError(
            f"config.json has layers of the kinds {str(listed)[:80]}; supported are Mamba (M), attention (*) and "
            "feed-forward (-); for experts use llama.cpp's own converter with --converter DIR"
        )
    return [_KINDS[kind] for kind in listed]


def _sizes(config: Config) -> Mamba2:
    n_heads = need(config, "mamba_num_heads")
    return Mamba2(
        n_embd=need(config, "hidden_size"),
        n_inner=n_heads * need(config, "mamba_head_dim"),
        n_state=need(config, "ssm_state_size"),
        n_conv=need(config, "conv_kernel"),
        n_heads=n_heads,
        n_groups=need(config, "n_groups"),
    )


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    yield from around(config)
    n_embd, n_ff, sizes = need(config, "hidden_size"), need(config, "intermediate_size"), _sizes(config)
    for layer, kind in enumerate(_kinds(config)):
        block = f"backbone.layers.{layer}"
        yield Planned(name=f"{block}.norm.weight", shape=(n_embd,))
        if kind == _STATE:
            yield from sizes.tensors(f"{block}.mixer", layer)
        elif kind == _ATTENTION:
            # There is no rotary embedding; llama.cpp's converter changes the order of queries and keys all the same.
            yield from attention(config, f"{block}.mixer", interleave=True)
        else:
            yield Planned(name=f"{block}.mixer.up_proj.weight", shape=(n_ff, n_embd))
            yield Planned(name=f"{block}.mixer.down_proj.weight", shape=(n_embd, n_ff))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, then each layer's counts: heads in attention, a width in feed-forward parts."""
    kinds, n_ff, sizes = _kinds(config), need(config, "intermediate_size"), _sizes(config)
    head_dim = need(config, "head_dim")
    write_common_keys(writer, {**config, "head_dim": None}, file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_rope_dimension_count(need(config, "hidden_size") // need(config, "num_attention_heads"))
    sizes.write_keys_by_state(writer)
    writer.add_head_count_kv([n_head_kv(config) if kind == _ATTENTION else 0 for kind in kinds])
    writer.add_rope_scaling_finetuned(False)
    writer.add_context_length(CONTEXT)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_feed_forward_length([n_ff if kind == _FEED_FORWARD else 0 for kind in kinds])


FAMILY = Family(
    architectures=("NemotronHForCausalLM",),
    model_types=("nemotron_h",),
    arch="nemotron_h",
    adapt=_adapt,
    computed={
        "mlp_hidden_act": (None, "relu2"),
        "mamba_hidden_act": (None, "silu"),
        "attention_bias": (None, False),
        "mlp_bias": (None, False),
        "use_bias": (None, False),
        "mamba_proj_bias": (None, False),
        "use_conv_bias": (None, True),
        "sliding_window": (None,),
        "time_step_limit": NO_LIMIT,
    },
    defaults={  # transformers' NemotronHConfig (5)
        "vocab_size": 131072,
        "hidden_size": 4096,
        "intermediate_size": 21504,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 4096,
        "layer_norm_epsilon": 1e-5,
        "mamba_num_heads": 128,
        "mamba_head_dim": 64,
        "ssm_state_size": 128,
        "conv_kernel": 4,
        "n_groups": 8,
    },
    tensors=tensors,
    check=_kinds,
    write_keys=write_keys,
)
