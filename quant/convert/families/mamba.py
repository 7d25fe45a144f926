"""MambaForCausalLM and FalconMambaForCausalLM: state space layers alone, no attention and no feed-forward part.

Falcon Mamba divides time steps, inputs and outputs of the state by their root mean square. llama.cpp adds the epsilon
of the other norms to it, which is not the config's own (mixer_rms_eps).
Source: conversion/mamba.py and src/models/mamba.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, is_tied, need, number
from quant.convert.families.planned import Planned
from quant.convert.families.state_space import Mamba1, vocabulary_in_steps

CONTEXT = 1 << 20  # there is no limit; llama.cpp's converter writes this
_EXPAND = 2  # the only factor of llama.cpp's mamba
_STEP = 8  # of the vocabulary
_EMBD_PER_RANK = 16


def time_step_rank(config: Config) -> int:
    """Return the default of Mamba's rank of time steps."""
    return -(-need(config, "hidden_size") // _EMBD_PER_RANK)


def _adapt(config: Config) -> Config:
    if config.get("time_step_rank") == "auto":
        config = {**config, "time_step_rank": None}
    return vocabulary_in_steps(_STEP, config)


def _sizes(config: Config) -> Mamba1:
    n_embd = need(config, "hidden_size")
    return Mamba1(
        n_embd=n_embd,
        n_inner=_EXPAND * n_embd,
        n_state=need(config, "state_size"),
        n_conv=need(config, "conv_kernel"),
        dt_rank=need(config, "time_step_rank"),
    )


def _check(config: Config) -> None:
    width = config.get("intermediate_size")
    if width not in (None, _EXPAND * need(config, "hidden_size")):
        raise UserError(
            f"config.json has intermediate_size = {str(width)[:80]}, and llama.cpp's mamba has {_EXPAND} times "
            "hidden_size; choose another model"
        )


def around(config: Config) -> Iterator[Planned]:
    """Yield what is not in a layer, by the names that all models of the kind have."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    yield Planned(name="backbone.embeddings.weight", shape=(n_vocab, n_embd))
    yield Planned(name="backbone.norm_f.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    yield from around(config)
    sizes = _sizes(config)
    for layer in range(need(config, "num_hidden_layers")):
        block = f"backbone.layers.{layer}"
        yield Planned(name=f"{block}.norm.weight", shape=(sizes.n_embd,))
        yield from sizes.tensors(f"{block}.mixer")


def write_first_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add the keys that Mamba 1 and 2 share; those of what they lack are zero."""
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(need(config, "hidden_size"))
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(need(config, "num_hidden_layers"))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add mamba's keys."""
    write_first_keys(writer, config)
    _sizes(config).write_keys(writer)
    writer.add_layer_norm_rms_eps(number(config, "layer_norm_epsilon"))
    writer.add_ssm_dt_b_c_rms(config.get("model_type") == "falcon_mamba")
    writer.add_file_type(file_type)


FAMILY = Family(
    architectures=("MambaForCausalLM", "FalconMambaForCausalLM"),
    model_types=("mamba", "falcon_mamba"),
    arch="mamba",
    adapt=_adapt,
    computed={
        "hidden_act": SILU,
        "use_bias": (None, False),
        "use_conv_bias": (None, True),
        "expand": (None, _EXPAND),
    },
    defaults={  # transformers' MambaConfig and FalconMambaConfig (4.57)
        "vocab_size": 50280,
        "hidden_size": 768,
        "state_size": 16,
        "num_hidden_layers": 32,
        "layer_norm_epsilon": 1e-5,
        "conv_kernel": 4,
        "time_step_rank": time_step_rank,
        "tie_word_embeddings": True,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
)
