"""Plamo3ForCausalLM: PLaMo 3. Attention with a window in most layers, norms of queries and keys, four norms a layer.

Source: conversion/plamo.py and src/models/plamo3.cpp of the pinned llama.cpp; the model's code is the repository's own.
"""

from collections.abc import Iterator
from pathlib import Path

import gguf

from quant.convert.families.base import Config, Family, first_of, head_dim, is_tied, n_head_kv, n_heads, need
from quant.convert.families.keys import write_common_keys
from quant.convert.families.plamo2 import feed_forward_and_norms
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.files import read_json
from quant.convert.tokenizer.plamo import plamo_vocabulary
from quant.convert.tokenizer.vocabulary import Vocabulary


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; queries, keys and values are the rows of one matrix."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    heads, heads_kv, size = n_heads(config), n_head_kv(config), head_dim(config)
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.layers.{layer}"
        yield Planned(name=f"{block}.mixer.qkv_proj.weight", shape=((heads + 2 * heads_kv) * size, n_embd))
        yield Planned(name=f"{block}.mixer.o_proj.weight", shape=(n_embd, heads * size))
        for part in "qk":
            target = f"blk.{layer}.attn_{part}_norm.weight"
            yield Planned(name=f"{block}.mixer.{part}_norm.weight", shape=(size,), target=target, offset=1.0)
        yield from feed_forward_and_norms(config, block)
    yield Planned(name="model.norm.weight", shape=(n_embd,), offset=1.0)
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the window and the number of layers in a group, of which the last has none."""
    write_common_keys(writer, config, file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_sliding_window(need(config, "window_size"))
    writer.add_sliding_window_pattern(need(config, "sliding_window_pattern"))


def _vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read PLaMo's vocabulary and the chat template, of which a file of its own goes before the settings."""
    found = plamo_vocabulary(folder, config, pre)
    if found.model == "plamo2":
        found.last = {"add_space_prefix": False}
        path, template = folder / "chat_template.jinja", (read_json(folder / "tokenizer_config.json") or {})
        text = path.read_text(encoding="utf-8") if path.is_file() else template.get("chat_template")
        if isinstance(text, str) and text:
            found.last["chat_template"] = text
    return found


def _adapt(config: Config) -> Config:
    """Return the base of layers with a window under its usual name."""
    return {**config, "local_rope_theta": first_of(config, "rope_local_theta", "local_rope_theta") or 10000}


FAMILY = Family(
    architectures=("Plamo3ForCausalLM", "PLaMo3ForCausalLM"),
    model_types=("plamo3",),
    arch="plamo3",
    adapt=_adapt,
    computed={
        "attention_bias": (None, False),
        "hidden_activation": (None, "swiglu"),
        # The model's scaling does not round the dimensions between which it changes (truncate); llama.cpp's does.
        "rope_scaling_factor": (None, 1, 1.0),
        "rope_scaling": (None,),
    },
    defaults={  # the repositories' own Plamo3Config
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "intermediate_size": 13312,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000,
        "window_size": 2048,
        "sliding_window_pattern": 8,
        "tie_word_embeddings": True,
    },
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=_vocabulary,
)
