"""InternLM2ForCausalLM: InternLM 2 and 2.5. Llama's graph; queries, keys and values alternate by group in one matrix.

Source: conversion/internlm.py and src/models/internlm2.cpp of the pinned llama.cpp; the config's defaults are those of
the models' own configuration_internlm2.py.
"""

from collections.abc import Iterator
from pathlib import Path

import gguf

from quant.convert.families.base import (
    SILU,
    Config,
    Family,
    head_dim,
    n_head_kv,
    n_heads,
    need,
    require_full_width,
    require_own_output,
    require_whole_heads,
)
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Grouped, Planned
from quant.convert.tokenizer.files import read_json
from quant.convert.tokenizer.special import added_tokens
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

_END_OF_TURN = "<|im_end|>"  # ends a chat model's answer, although another token is its eos
# llama.cpp would read a NUL as an empty token; sentencepiece has no use for it beside the byte tokens.
_NUL, _NUL_PIECE = b"\0", "\N{DRAGON}".encode()
_UNUSED = b"[UNUSED"


def with_turns(found: Vocabulary, folder: Path, *, special: bool) -> Vocabulary:
    """Return a vocabulary as these models' converter writes it, with the token that ends a turn as eos.

    Args:
        special: take that token only where tokenizer_config.json adds it as a special one.
    """
    settings = read_json(folder / "tokenizer_config.json") or {}
    tokenizer = {} if special else read_json(folder / "tokenizer.json") or {}
    for token_id, entry in added_tokens(tokenizer, settings).items():
        is_end = entry["content"] == _END_OF_TURN and (not special or bool(entry.get("special")))
        if is_end and "eos" in found.special.special_token_ids:
            found.special.special_token_ids["eos"] = token_id
    found.late_prefix = True
    return found


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary, to which the tokenizer's files add tokens as they are written."""
    found = load_vocabulary(folder, config, pre=pre, added_by_tokenizer_json=True)
    if found.model == "llama":
        found.add_space_prefix = found.add_space_prefix is not False
        texts, types = found.tokens.texts, found.tokens.types
        for token_id, text in enumerate(texts):
            if text == _NUL:
                texts[token_id] = _NUL_PIECE
            if text.startswith((_NUL, _UNUSED)) and types[token_id] == gguf.TokenType.NORMAL:
                types[token_id] = int(gguf.TokenType.UNUSED)
    return with_turns(found, folder, special=False)


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    heads, groups, size = n_heads(config), n_head_kv(config), head_dim(config)
    yield Planned(name="model.tok_embeddings.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        for part, count, first in (("q", heads, 0), ("k", groups, heads), ("v", groups, heads + groups)):
            yield Planned(
                name=f"{block}.attention.wqkv.weight",
                shape=(count * size, n_embd),
                target=f"blk.{layer}.attn_{part}.weight",
                source_shape=((heads + 2 * groups) * size, n_embd),
                order=Grouped(heads, groups, size, first_head=first, interleaved=part != "v"),
            )
        for name, shape in (
            ("attention.wo", (n_embd, n_embd)),
            ("feed_forward.w1", (n_ff, n_embd)),
            ("feed_forward.w3", (n_ff, n_embd)),
            ("feed_forward.w2", (n_embd, n_ff)),
            ("attention_norm", (n_embd,)),
            ("ffn_norm", (n_embd,)),
        ):
            yield Planned(name=f"{block}.{name}.weight", shape=shape)
    yield Planned(name="model.norm.weight", shape=(n_embd,))
    yield Planned(name="output.weight", shape=(n_vocab, n_embd))


def _check(config: Config) -> None:
    require_full_width(config)
    require_whole_heads(n_heads(config), n_head_kv(config))
    require_own_output(config)


FAMILY = Family(
    architectures=("InternLM2ForCausalLM",),
    model_types=("internlm2",),
    arch="internlm2",
    computed={"hidden_act": SILU, "bias": (False,)},  # without the key its class has biases
    defaults={
        "vocab_size": 103168,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_common_keys,
    vocabulary=vocabulary,
)
