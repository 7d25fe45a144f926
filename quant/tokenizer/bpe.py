"""BPE vocabularies in tokenizer.json: byte-level ones, and the byte-fallback ones that stand for SentencePiece."""

import re
from pathlib import Path
from typing import Any

from gguf import TokenType

from quant.errors import UserError
from quant.tokenizer.special import added_tokens, looks_special, plain_spaces

_MAX_VOCAB = 1 << 24
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_NO_SCORE = -1000.0  # llama.cpp's converter gives every token of such a file this score


def byte_level_tokens(
    folder: Path, tokenizer: dict[str, Any], settings: dict[str, Any], n_vocab: int | None
) -> tuple[list[bytes], list[int]]:
    """Give texts and types of a byte-level BPE, ids without a token padded as "[PAD7]".

    Raises:
        UserError: the vocabulary is no map from texts to ids, or has ids beyond vocab_size.
    """
    by_id = _by_id(folder, tokenizer)
    added = added_tokens(tokenizer, settings)
    texts_added = {entry["content"] for entry in added.values()}
    for token_id, entry in added.items():
        by_id.setdefault(token_id, entry["content"])
    highest = max(by_id, default=-1)
    size = n_vocab if n_vocab is not None else highest + 1
    if highest >= size:
        raise UserError(
            f"{folder / 'tokenizer.json'} has the token id {highest}, but vocab_size in config.json is {size}; "
            "the files do not belong together"
        )
    texts, types = [], []
    for token_id in range(size):
        text = by_id.get(token_id)
        if text is None:
            texts.append(f"[PAD{token_id}]".encode())
            types.append(int(TokenType.UNUSED))
        elif text not in texts_added:
            texts.append(_encoded(text, folder))
            types.append(int(TokenType.NORMAL))
        elif added.get(token_id, {}).get("special") or looks_special(text):
            texts.append(_encoded(text, folder))
            types.append(int(TokenType.CONTROL))
        else:
            texts.append(_encoded(plain_spaces(text), folder))
            types.append(int(TokenType.USER_DEFINED))
    return texts, types


def byte_fallback_tokens(
    folder: Path, tokenizer: dict[str, Any], settings: dict[str, Any]
) -> tuple[list[bytes], list[float], list[int]]:
    """Give texts, scores and types of a byte-fallback BPE: the base vocabulary, then what was added behind it.

    Raises:
        UserError: the vocabulary has gaps.
    """
    by_id = _by_id(folder, tokenizer)
    base_size = len(by_id)
    if set(by_id) != set(range(base_size)):
        raise UserError(f"the ids in {folder / 'tokenizer.json'} have gaps; fetch it again")
    added = added_tokens(tokenizer, settings)
    control = {entry["content"] for entry in added.values() if entry.get("special")}
    control |= {
        text for name in ("bos_token", "eos_token", "unk_token", "pad_token") if (text := _content(settings, name))
    }
    texts, types = [], []
    for token_id in range(base_size):
        text = by_id[token_id]
        texts.append(_encoded(text, folder))
        if _BYTE_TOKEN.fullmatch(text):
            types.append(int(TokenType.BYTE))
        else:
            types.append(int(TokenType.CONTROL if text in control else TokenType.NORMAL))
    for token_id in sorted(token_id for token_id in added if token_id >= base_size):
        text = added[token_id]["content"]
        texts.append(_encoded(text, folder))
        types.append(int(TokenType.CONTROL if text in control else TokenType.USER_DEFINED))
    return texts, [_NO_SCORE] * len(texts), types


def _content(settings: dict[str, Any], name: str) -> str | None:
    entry = settings.get(name)
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None


def _by_id(folder: Path, tokenizer: dict[str, Any]) -> dict[int, str]:
    vocab = tokenizer["model"].get("vocab")
    if not isinstance(vocab, dict) or not vocab:
        raise UserError(f"{folder / 'tokenizer.json'} has no vocabulary; fetch it again")
    by_id: dict[int, str] = {}
    for text, token_id in vocab.items():
        if type(token_id) is not int or not 0 <= token_id < _MAX_VOCAB:
            raise UserError(f"{folder / 'tokenizer.json'} gives a token the id {token_id!r}; fetch it again")
        if token_id in by_id:
            raise UserError(f"{folder / 'tokenizer.json'} gives the id {token_id} to two tokens; fetch it again")
        by_id[token_id] = text
    return by_id


def _encoded(text: str, folder: Path) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{folder / 'tokenizer.json'} has a token that is no text ({text!r}); fetch it again"
        ) from error


def byte_letters() -> list[str]:
    """Give the printable letters that stand for the 256 bytes in byte-level BPE. Source: GPT-2's byte encoder."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    letters, shifted = [], 0
    for byte in range(256):
        if byte in printable:
            letters.append(chr(byte))
        else:
            letters.append(chr(256 + shifted))
            shifted += 1
    return letters
