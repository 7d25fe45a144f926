"""Plamo2ForCausalLM: PLaMo 2. Mamba layers with heads, and attention in every second one; four norms around them.

Its attention has a window of 2048 tokens, which llama.cpp does not compute: longer texts are read whole.
Source: conversion/plamo.py and src/models/plamo2.cpp of the pinned llama.cpp; the model's code is the repository's own.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, as_number, is_tied, need, number, rope_parameters
from quant.convert.families.planned import Planned
from quant.convert.families.state_space import convolution
from quant.convert.tokenizer.plamo import plamo_vocabulary
from quant.convert.tokenizer.vocabulary import Vocabulary

_LEAST_RANK, _EMBD_PER_RANK = 64, 16

# Added to the weights of each norm.
_NORMS = {"pre_mixer_norm": 1.0, "post_mixer_norm": 1 / 5, "pre_mlp_norm": 1.0, "post_mlp_norm": 1 / 5**1.5}


def _is_state(config: Config, layer: int) -> bool:
    """Return whether a layer keeps a state. Source: is_mamba of the model's code."""
    step, n_layers = need(config, "mamba_step"), need(config, "num_hidden_layers")
    return layer != n_layers - 1 if n_layers <= step // 2 else layer % step != step // 2


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.layers.{layer}"
        mixer = _state if _is_state(config, layer) else _attention
        yield from mixer(config, f"{block}.mixer", layer)
        yield from feed_forward_and_norms(config, block)
    yield Planned(name="model.norm.weight", shape=(n_embd,), offset=1.0)
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def feed_forward_and_norms(config: Config, block: str) -> Iterator[Planned]:
    """Yield a layer's feed-forward part, whose gate and up are the rows of one matrix, and its four norms."""
    n_embd, n_ff = need(config, "hidden_size"), need(config, "intermediate_size")
    yield Planned(name=f"{block}.mlp.gate_up_proj.weight", shape=(2 * n_ff, n_embd))
    yield Planned(name=f"{block}.mlp.down_proj.weight", shape=(n_embd, n_ff))
    for name, offset in _NORMS.items():
        yield Planned(name=f"{block}.{name}.weight", shape=(n_embd,), offset=offset)


def _attention(config: Config, name: str, layer: int) -> Iterator[Planned]:
    n_embd, size = need(config, "hidden_size"), need(config, "hidden_size_per_head")
    heads, heads_kv = need(config, "num_attention_heads"), need(config, "num_key_value_heads")
    yield Planned(name=f"{name}.qkv_proj.weight", shape=((heads + 2 * heads_kv) * size, n_embd))
    yield Planned(name=f"{name}.o_proj.weight", shape=(n_embd, heads * size))
    yield Planned(name=f"{name}.q_weight", shape=(heads, size), target=f"blk.{layer}.attn_q_norm.weight")
    yield Planned(name=f"{name}.k_weight", shape=(heads_kv, size), target=f"blk.{layer}.attn_k_norm.weight")


def _state(config: Config, name: str, layer: int) -> Iterator[Planned]:
    n_embd, n_state, heads = need(config, "hidden_size"), need(config, "mamba_d_state"), need(config, "mamba_num_heads")
    n_inner, rank = _n_inner(config), max(_LEAST_RANK, n_embd // _EMBD_PER_RANK)
    yield Planned(name=f"{name}.in_proj.weight", shape=(2 * n_inner, n_embd))
    yield from convolution(f"{name}.conv1d", n_inner, need(config, "mamba_d_conv"), bias=False)
    yield Planned(name=f"{name}.bcdt_proj.weight", shape=(rank + 2 * n_state, n_inner))
    yield Planned(name=f"{name}.dt_proj.weight", shape=(heads, rank))
    yield Planned(name=f"{name}.dt_bias", shape=(heads,), target=f"blk.{layer}.ssm_dt.bias")
    yield Planned(name=f"{name}.A_log", shape=(heads,), is_log=True)
    yield Planned(name=f"{name}.D", shape=(heads,))
    yield Planned(name=f"{name}.out_proj.weight", shape=(n_embd, n_inner))
    for part, width in (("dt", rank), ("B", n_state), ("C", n_state)):
        yield Planned(name=f"{name}.{part}_norm_weight", shape=(width,), target=f"blk.{layer}.ssm_{part.lower()}_norm")


def _n_inner(config: Config) -> int:
    return need(config, "mamba_num_heads") * need(config, "hidden_size_per_head")


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add plamo2's keys.

    llama.cpp's converter writes no heads for layers that keep a state. Where the first one has none, llama.cpp rotates
    heads of no size, and never ends (load_hparams in src/llama-model.cpp). Key and value heads tell those layers.
    """
    layers = range(need(config, "num_hidden_layers"))
    writer.add_vocab_size(need(config, "vocab_size"))
    heads_kv = need(config, "num_key_value_heads")
    writer.add_head_count_kv([0 if _is_state(config, layer) else heads_kv for layer in layers])
    writer.add_head_count(need(config, "num_attention_heads"))
    writer.add_context_length(need(config, "max_position_embeddings"))
    writer.add_embedding_length(need(config, "hidden_size"))
    writer.add_key_length(need(config, "hidden_size_per_head"))
    writer.add_value_length(need(config, "hidden_size_per_head"))
    writer.add_block_count(len(layers))
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps"))
    writer.add_rope_freq_base(as_number(rope_parameters(config).get("rope_theta", 10000), "rope_theta"))
    writer.add_ssm_state_size(need(config, "mamba_d_state"))
    writer.add_ssm_conv_kernel(need(config, "mamba_d_conv"))
    writer.add_ssm_time_step_rank(need(config, "mamba_num_heads"))
    writer.add_ssm_inner_size(_n_inner(config))
    writer.add_ssm_group_count(0)
    writer.add_feed_forward_length(need(config, "intermediate_size"))
    writer.add_file_type(file_type)


def vocabulary_keys(writer: gguf.GGUFWriter, config: Config, vocabulary: Vocabulary) -> None:
    """State that no space is put before a text."""
    if vocabulary.model == "plamo2":
        writer.add_add_space_prefix(False)


def _check(config: Config) -> None:
    if rope_parameters(config).get("rope_type") not in (None, "default"):
        raise UserError("config.json asks for a rope scaling, which llama.cpp's plamo2 does not have")


FAMILY = Family(
    architectures=("Plamo2ForCausalLM", "PLaMo2ForCausalLM"),
    model_types=("plamo2",),
    arch="plamo2",
    computed={"mamba_enabled": (None, True), "use_predefined_initial_state": (None, False)},
    defaults={  # the repositories' own Plamo2Config, as llama.cpp's converter states it
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "hidden_size_per_head": 128,
        "intermediate_size": 13312,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "mamba_d_state": 64,
        "mamba_d_conv": 4,
        "mamba_num_heads": 64,
        "mamba_step": 2,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=plamo_vocabulary,
    vocabulary_keys=vocabulary_keys,
)
