"""QWenLMHeadModel: the first Qwen, 1.8B to 72B. Query, key and value are one matrix with a bias; tiktoken vocabulary.

Source: conversion/qwen.py of the pinned llama.cpp; the special tokens are those of the models' own
tokenization_qwen.py, and the config's defaults those of their configuration_qwen.py.
"""

from collections.abc import Iterator
from pathlib import Path

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, need, with_defaults
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.tiktoken import ranked_vocabulary
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

_RANKS = "qwen.tiktoken"
_END = "<|endoftext|>"
_SPECIAL = (_END, "<|im_start|>", "<|im_end|>", *(f"<|extra_{number}|>" for number in range(205)))


def _renamed(config: Config) -> Config:
    """Rename the norms' epsilon to rms_norm_eps.

    llama.cpp's converter writes it as a LayerNorm epsilon, and llama.cpp then does not load the file.
    """
    config = with_defaults(config, rms_norm_eps=config.get("layer_norm_epsilon"))
    return {key: value for key, value in config.items() if key != "layer_norm_epsilon"}


def _require_full_width(config: Config) -> None:
    """Refuse heads that do not fill the width, which llama.cpp does not support."""
    n_embd, heads = need(config, "hidden_size"), need(config, "num_attention_heads")
    if need(config, "kv_channels", n_embd // heads) * heads != n_embd:
        raise UserError(f"config.json has {heads} heads of {config['kv_channels']} in a width of {n_embd}")


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; intermediate_size counts gate and up together."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    n_half = n_ff // 2
    yield Planned(name="transformer.wte.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"transformer.h.{layer}"
        yield Planned(name=f"{block}.ln_1.weight", shape=(n_embd,))
        yield Planned(name=f"{block}.attn.c_attn.weight", shape=(3 * n_embd, n_embd))
        yield Planned(name=f"{block}.attn.c_attn.bias", shape=(3 * n_embd,))
        yield Planned(name=f"{block}.attn.c_proj.weight", shape=(n_embd, n_embd))
        yield Planned(name=f"{block}.ln_2.weight", shape=(n_embd,))
        yield Planned(name=f"{block}.mlp.w1.weight", shape=(n_half, n_embd))
        yield Planned(name=f"{block}.mlp.w2.weight", shape=(n_half, n_embd))
        yield Planned(name=f"{block}.mlp.c_proj.weight", shape=(n_embd, n_half))
    yield Planned(name="transformer.ln_f.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd))


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary: tokens by rank, then the special ones; a synthetic checkpoint has tokenizer.json instead."""
    if not (folder / _RANKS).is_file():
        return load_vocabulary(folder, config, pre=pre)
    found = ranked_vocabulary(folder / _RANKS, _SPECIAL, need(config, "vocab_size"), pre or "qwen2")
    ids, end = found.special.special_token_ids, found.tokens.texts.index(_END.encode())
    if not ids:
        ids.update(bos=end, eos=end)
    ids.setdefault("unk", end)
    return found


FAMILY = Family(
    architectures=("QWenLMHeadModel",),
    model_types=("qwen",),
    arch="qwen",
    adapt=_renamed,
    defaults={  # the models' own config class
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "rotary_emb_base": 10000.0,
    },
    check=_require_full_width,
    tensors=tensors,
    write_keys=write_common_keys,
    vocabulary=vocabulary,
)
