"""From a checkpoint's tokenizer files to the vocabulary of a GGUF file.

Three kinds: SentencePiece's tokenizer.model, byte-level BPE in tokenizer.json, and the byte-fallback BPE that replaces
SentencePiece in tokenizer.json. No tokenizer is run and no template is executed.
Source of the keys and their order: conversion/base.py and gguf/vocab.py of the pinned llama.cpp.
"""

from pathlib import Path
from typing import Any, NamedTuple

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.tokenizer.bos_eos import set_bos_and_eos
from quant.convert.tokenizer.bpe import byte_fallback_tokens, byte_level_tokens
from quant.convert.tokenizer.files import read_json
from quant.convert.tokenizer.pre import detect_pre, validate_pre
from quant.convert.tokenizer.spaces import has_step, puts_space_first
from quant.convert.tokenizer.special import special_vocab
from quant.convert.tokenizer.spm import PieceModel, read_piece_model, sentencepiece_tokens
from quant.convert.tokenizer.tokens import Tokens


class Vocabulary(msgspec.Struct, kw_only=True):
    """The contents of a GGUF file's tokenizer.* keys."""

    model: str  # "gpt2" for byte-level BPE, "llama" for SentencePiece, "rwkv"
    pre: str | None  # the pre-tokenizer; None: the key is omitted
    tokens: Tokens
    special: Any  # gguf.SpecialVocab: merges, special ids, chat template
    add_space_prefix: bool | None = None
    late_prefix: bool = False  # whether that key comes after the tokens
    adds_bos: bool = False  # the tokenizer itself, as far as its files say
    last: dict[str, bool | int | str] = {}  # keys after all others, by the names of gguf's methods that add them

    @property
    def n_tokens(self) -> int:
        """The number of token ids."""
        return len(self.tokens.texts)

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Add all tokenizer.* keys."""
        if self.add_space_prefix is not None and not self.late_prefix:
            writer.add_add_space_prefix(self.add_space_prefix)
        writer.add_tokenizer_model(self.model)
        if self.pre is not None:
            writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens.texts)
        if self.tokens.scores is not None:
            writer.add_token_scores(self.tokens.scores)
        writer.add_token_types(self.tokens.types)
        if self.add_space_prefix is not None and self.late_prefix:
            writer.add_add_space_prefix(self.add_space_prefix)
        if self.model == "gpt2" and not self.special.merges:
            # gguf omits an empty list, and llama.cpp refuses a file without the key.
            key = gguf.Keys.Tokenizer.MERGES
            writer.add_key_value(key, [], gguf.GGUFValueType.ARRAY, sub_type=gguf.GGUFValueType.STRING)
        self.special.add_to_gguf(writer, quiet=True)
        for name, value in self.last.items():
            getattr(writer, f"add_{name}")(value)


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
    tokenizer = read_json(folder / "tokenizer.json")
    model = _piece_model(folder, tokenizer)
    if pre is not None and (model is not None or _kind(tokenizer) == "byte-fallback"):
        raise UserError(f"{folder} has a SentencePiece tokenizer, which has no pre-tokenizer; omit --pre")
    files = _Files(folder, tokenizer, settings, n_vocab, prefix if isinstance(prefix, bool) else None)
    if model is not None:
        found = _of_pieces(files, model, (tokenizer or {}) if added_by_tokenizer_json else None)
    elif tokenizer is None:
        raise UserError(f"{folder} has neither tokenizer.json nor tokenizer.model; download the tokenizer's files too")
    elif _kind(tokenizer) == "byte-fallback":
        found = _of_byte_fallback(files, tokenizer)
    elif _kind(tokenizer) == "byte-level":
        found = _of_byte_level(files, tokenizer, pre)
    else:
        raise UserError(
            f"{folder / 'tokenizer.json'} holds a {_kind(tokenizer)} model, and only BPE is supported; "
            "take the tokenizer's files of the model that it was made from, or pass --converter DIR"
        )
    if _is_whole(tokenizer):
        found.adds_bos = set_bos_and_eos(found.special, tokenizer or {}, settings, found.pre or "")
    found.tokens.make_unique()
    return found


class _Files(NamedTuple):
    """A checkpoint's tokenizer files, read."""

    folder: Path
    tokenizer: dict[str, Any] | None
    settings: dict[str, Any]
    n_vocab: int | None
    prefix: bool | None  # the setting that llama.cpp's converter writes as a key

    def space_prefix(self, wanted: bool) -> bool | None:
        """Return the key's value; None where llama.cpp's default is right and its converter writes none."""
        return None if wanted and self.prefix is None else wanted


def _of_pieces(files: _Files, model: PieceModel, adding: dict[str, Any] | None) -> Vocabulary:
    tokens = sentencepiece_tokens(model, files.n_vocab, files.settings, adding)
    special = special_vocab(files.folder, files.tokenizer, n_vocab=len(tokens.texts))
    is_whole = _is_whole(files.tokenizer)
    prefix = files.space_prefix(puts_space_first(files.tokenizer or {}) if is_whole else model.adds_dummy_prefix)
    return Vocabulary(model="llama", pre="default", tokens=tokens, special=special, add_space_prefix=prefix)


def _of_byte_fallback(files: _Files, tokenizer: dict[str, Any]) -> Vocabulary:
    tokens = byte_fallback_tokens(files.folder, tokenizer, files.settings, files.n_vocab)
    special = special_vocab(files.folder, tokenizer, n_vocab=len(tokens.texts))
    prefix = files.space_prefix(puts_space_first(tokenizer))
    return Vocabulary(model="llama", pre="default", tokens=tokens, special=special, add_space_prefix=prefix)


def _of_byte_level(files: _Files, tokenizer: dict[str, Any], pre: str | None) -> Vocabulary:
    tokens = byte_level_tokens(files.folder, tokenizer, files.settings, files.n_vocab)
    special = special_vocab(files.folder, tokenizer, n_vocab=len(tokens.texts), load_merges=True)
    has_bos = "bos" in special.special_token_ids
    return Vocabulary(
        model="gpt2",
        pre=pre or detect_pre(tokenizer, files.folder, settings=files.settings, has_bos=has_bos),
        tokens=tokens,
        special=special,
        add_space_prefix=files.prefix,
    )


def is_byte_fallback(tokenizer: dict[str, Any]) -> bool:
    """Return whether a tokenizer.json holds a whole byte-fallback BPE."""
    return _is_whole(tokenizer) and _kind(tokenizer) == "byte-fallback"


def is_sentencepiece(folder: Path) -> bool:
    """Return whether a checkpoint has a SentencePiece tokenizer, which has no pre-tokenizer."""
    tokenizer = read_json(folder / "tokenizer.json")
    return _kind(tokenizer) == "byte-fallback" or _piece_model(folder, tokenizer) is not None


def _piece_model(folder: Path, tokenizer: dict[str, Any] | None) -> PieceModel | None:
    """Read tokenizer.model if it counts: transformers reads it last, and may leave another file of this name.

    Raises:
        UserError: it cannot be used, and there is no whole tokenizer.json.
    """
    path = folder / "tokenizer.model"
    if not path.is_file() or (_is_whole(tokenizer) and _kind(tokenizer) == "byte-level"):
        return None
    try:
        return read_piece_model(path)
    except UserError:
        if not _is_whole(tokenizer):
            raise
        return None


def _is_whole(tokenizer: dict[str, Any] | None) -> bool:
    """Return whether a tokenizer.json has a vocabulary of its own, not only tokens that it adds to another file's."""
    model = (tokenizer or {}).get("model")
    return isinstance(model, dict) and bool(model.get("vocab"))


def _kind(tokenizer: dict[str, Any] | None) -> str:
    """Return "byte-level", "byte-fallback", or the name of another model. The pre-tokenizer decides."""
    model = (tokenizer or {}).get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        return str(model.get("type") or "nameless")[:40] if isinstance(model, dict) else "nameless"
    by_bytes = has_step((tokenizer or {}).get("pre_tokenizer"), "ByteLevel")
    return "byte-fallback" if model.get("byte_fallback") is True and not by_bytes else "byte-level"
