"""From a checkpoint's tokenizer files to the vocabulary of a GGUF file.

Three kinds: SentencePiece's tokenizer.model, byte-level BPE in tokenizer.json, and the byte-fallback BPE that replaces
SentencePiece in tokenizer.json. No tokenizer is run and no template is executed.
Source of the keys and their order: conversion/base.py and gguf/vocab.py of the pinned llama.cpp.
"""

from pathlib import Path
from typing import Any

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.tokenizer.bpe import byte_fallback_tokens, byte_level_tokens
from quant.convert.tokenizer.files import read_json
from quant.convert.tokenizer.pre import detect_pre, validate_pre
from quant.convert.tokenizer.special import special_vocab
from quant.convert.tokenizer.spm import sentencepiece_tokens
from quant.convert.tokenizer.tokens import Tokens


class Vocabulary(msgspec.Struct, kw_only=True):
    """The contents of a GGUF file's tokenizer.* keys."""

    model: str  # "gpt2" for byte-level BPE, "llama" for SentencePiece
    pre: str
    tokens: Tokens
    special: Any  # gguf.SpecialVocab: merges, special ids, chat template
    add_space_prefix: bool | None = None

    @property
    def n_tokens(self) -> int:
        """The number of token ids."""
        return len(self.tokens.texts)

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Add all tokenizer.* keys."""
        if self.add_space_prefix is not None:
            writer.add_add_space_prefix(self.add_space_prefix)
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens.texts)
        if self.tokens.scores is not None:
            writer.add_token_scores(self.tokens.scores)
        writer.add_token_types(self.tokens.types)
        self.special.add_to_gguf(writer, quiet=True)


def load_vocabulary(
    folder: Path,
    config: dict[str, Any],
    *,
    pre: str | None = None,
    space_prefix_key: bool = False,
    added_by_tokenizer_json: bool = False,
) -> Vocabulary:
    """Read a checkpoint's vocabulary, padded to the config's vocab_size.

    Args:
        pre: the pre-tokenizer's name in llama.cpp, if it cannot be detected from the tokenizer's structure.
        space_prefix_key: write the tokenizer's add_prefix_space as a key, as the llama family does.
        added_by_tokenizer_json: tokenizer.json also adds tokens to SentencePiece's, as Phi-3's does.

    Raises:
        UserError: there is no tokenizer, it is broken, or its pre-tokenizer is unknown.
    """
    if pre is not None:
        validate_pre(pre)
    settings = read_json(folder / "tokenizer_config.json") or {}
    n_vocab = config.get("vocab_size")
    if n_vocab is not None and (not isinstance(n_vocab, int) or not 0 < n_vocab < 1 << 24):
        raise UserError(
            f"vocab_size in {folder / 'config.json'} is {repr(n_vocab)[:100]}; it must be a number of tokens"
        )
    prefix = settings.get("add_prefix_space") if space_prefix_key else None
    prefix = prefix if isinstance(prefix, bool) else None
    if pre is not None and is_sentencepiece(folder):
        raise UserError(f"{folder} has a SentencePiece tokenizer, which has no pre-tokenizer; omit --pre")
    if (folder / "tokenizer.model").is_file():
        adding = read_json(folder / "tokenizer.json") or {} if added_by_tokenizer_json else None
        tokens = sentencepiece_tokens(folder, n_vocab, settings, adding)
        special = special_vocab(folder, n_vocab=len(tokens.texts))
        return Vocabulary(model="llama", pre="default", tokens=tokens, special=special, add_space_prefix=prefix)
    tokenizer = read_json(folder / "tokenizer.json")
    if tokenizer is None:
        raise UserError(f"{folder} has neither tokenizer.json nor tokenizer.model; download the tokenizer's files too")
    model = tokenizer.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else None
        raise UserError(f"{folder / 'tokenizer.json'} holds a {kind or 'nameless'} model; BPE is supported")
    if model.get("byte_fallback") is True:
        tokens = byte_fallback_tokens(folder, tokenizer, settings, n_vocab)
        special = special_vocab(folder, tokenizer, n_vocab=len(tokens.texts))
        return Vocabulary(model="llama", pre="default", tokens=tokens, special=special, add_space_prefix=prefix)
    tokens = byte_level_tokens(folder, tokenizer, settings, n_vocab)
    special = special_vocab(folder, tokenizer, load_merges=True)
    has_bos = "bos" in special.special_token_ids
    return Vocabulary(
        model="gpt2",
        pre=pre or detect_pre(tokenizer, folder, settings=settings, has_bos=has_bos),
        tokens=tokens,
        special=special,
        add_space_prefix=prefix,
    )


def is_sentencepiece(folder: Path) -> bool:
    """Return whether a checkpoint has a SentencePiece tokenizer, which has no pre-tokenizer."""
    model = (read_json(folder / "tokenizer.json") or {}).get("model")
    by_bytes = isinstance(model, dict) and model.get("byte_fallback") is True
    return by_bytes or (folder / "tokenizer.model").is_file()
