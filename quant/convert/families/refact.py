"""GPTRefactForCausalLM: Refact 1.6B. ALiBi, one key for all queries; keys and values are one matrix, gate and up too.

llama.cpp computes RMS norms; the models' own code has LayerNorms without biases, so its logits differ by what the means
of the rows do. Source: conversion/refact.py and src/models/refact.cpp of the pinned llama.cpp; the feed-forward width
is that of the models' own code, which has SiLU whatever the config's activation_function.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import Config, Family, is_tied, need, number, require_whole_heads
from quant.convert.families.planned import From, Planned

_MULTIPLE = 256  # of the feed-forward width


def _n_ff(config: Config) -> int:
    """Return two thirds of the inner width, rounded up."""
    return -(-(2 * need(config, "n_inner") // 3) // _MULTIPLE) * _MULTIPLE


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "n_embd"), _n_ff(config), need(config, "vocab_size")
    size = n_embd // need(config, "n_head")
    yield Planned(name="transformer.wte.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "n_layer")):
        block = f"transformer.h.{layer}"
        for name, shape in (
            ("ln_1", (n_embd,)),
            ("attn.c_proj", (n_embd, n_embd)),
            ("ln_2", (n_embd,)),
            ("mlp.c_proj", (n_embd, n_ff)),
        ):
            yield Planned(name=f"{block}.{name}.weight", shape=shape)
        for source, n_rows, parts in (
            ("attn.q", n_embd, ("attn_q",)),
            ("attn.kv", size, ("attn_k", "attn_v")),
            ("mlp.gate_up_proj", n_ff, ("ffn_gate", "ffn_up")),
        ):
            for place, part in enumerate(parts):
                yield Planned(
                    name=f"{block}.{source}.weight",
                    shape=(n_rows, n_embd),
                    target=f"blk.{layer}.{part}.weight",
                    source_shape=(len(parts) * n_rows, n_embd),
                    order=From(place * n_rows),
                )
    yield Planned(name="ln_f.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add refact's keys."""
    writer.add_context_length(need(config, "n_positions"))
    writer.add_embedding_length(need(config, "n_embd"))
    writer.add_feed_forward_length(_n_ff(config))
    writer.add_block_count(need(config, "n_layer"))
    writer.add_head_count(need(config, "n_head"))
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(number(config, "layer_norm_epsilon"))
    writer.add_file_type(file_type)


FAMILY = Family(
    architectures=("GPTRefactForCausalLM",),
    model_types=("gpt_refact",),
    arch="refact",
    computed={"multi_query": (None, True)},
    defaults={  # the models' own configuration_gpt_refact.py
        "vocab_size": 49216,
        "n_positions": 4096,
        "n_embd": 1024,
        "n_layer": 32,
        "n_head": 64,
        "n_inner": lambda config: 4 * need(config, "n_embd"),
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    },
    check=lambda config: require_whole_heads(need(config, "n_embd"), need(config, "n_head")),
    tensors=tensors,
    write_keys=write_keys,
    layers_key="n_layer",
)
