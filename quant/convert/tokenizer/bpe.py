"""BPE vocabularies in tokenizer.json: byte-level ones, and the byte-fallback ones that replace SentencePiece."""

import re
from pathlib import Path
from typing import Any

from gguf import TokenType

from quant.base.errors import UserError
from quant.convert.tokenizer.files import encoded
from quant.convert.tokenizer.special import added_tokens, looks_special, plain_spaces
from quant.convert.tokenizer.tokens import Tokens

_MAX_VOCAB = 1 << 24
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_NO_SCORE = -1e6  # of tokens that no merge makes


def byte_level_tokens(folder: Path, tokenizer: dict[str, Any], settings: dict[str, Any], n_vocab: int | None) -> Tokens:
    """Return the tokens of a byte-level BPE.

    Raises:
        UserError: the vocabulary is no map from texts to ids, or has ids beyond vocab_size.
    """
    by_id = _by_id(folder, tokenizer)
    size, by_id, added = _within(folder, by_id, added_tokens(tokenizer, settings), n_vocab)
    texts_added = {entry["content"] for entry in added.values()}
    for token_id, entry in added.items():
        by_id.setdefault(token_id, entry["content"])
    path = folder / "tokenizer.json"
    tokens = Tokens.padded(size)
    for token_id, text in by_id.items():
        kind = TokenType.NORMAL
        if text in texts_added:
            is_control = added.get(token_id, {}).get("special") or looks_special(text)
            kind = TokenType.CONTROL if is_control else TokenType.USER_DEFINED
        tokens.put(token_id, encoded(plain_spaces(text) if kind == TokenType.USER_DEFINED else text, path), kind)
    return tokens


def byte_fallback_tokens(
    folder: Path, tokenizer: dict[str, Any], settings: dict[str, Any], n_vocab: int | None
) -> Tokens:
    """Return the tokens of a byte-fallback BPE: the base vocabulary, then the added tokens after it.

    llama.cpp merges by score, highest first, so a token's score is the rank of the first merge that makes it, negated.
    llama.cpp's converter gives all tokens one score, so llama.cpp merges from left to right; and it does not pad such a
    vocabulary to the rows of the embedding, so llama.cpp refuses the file.

    Raises:
        UserError: the base vocabulary has gaps, or there are ids beyond vocab_size.
    """
    by_id = _by_id(folder, tokenizer)
    base_size = len(by_id)
    if set(by_id) != set(range(base_size)):
        raise UserError(f"the ids in {folder / 'tokenizer.json'} have gaps; download it again")
    size, by_id, added = _within(folder, by_id, added_tokens(tokenizer, settings), n_vocab)
    control = {entry["content"] for entry in added.values() if entry.get("special")}
    control |= {
        text for name in ("bos_token", "eos_token", "unk_token", "pad_token") if (text := _content(settings, name))
    }
    path = folder / "tokenizer.json"
    tokens = Tokens.padded(size, _NO_SCORE)
    ranks = _ranks(tokenizer["model"].get("merges"))
    plain = {entry["content"] for entry in added.values()} - control
    for token_id, text in by_id.items():
        kind = TokenType.CONTROL if text in control else TokenType.NORMAL
        if text in plain:
            kind = TokenType.USER_DEFINED
        elif _BYTE_TOKEN.fullmatch(text):
            kind = TokenType.BYTE
        tokens.put(token_id, encoded(text, path), kind, -float(ranks[text]) if text in ranks else _NO_SCORE)
    for token_id, entry in added.items():
        if token_id >= base_size:
            kind = TokenType.CONTROL if entry["content"] in control else TokenType.USER_DEFINED
            tokens.put(token_id, encoded(entry["content"], path), kind)
    return tokens


def _ranks(merges: Any) -> dict[str, int]:
    """Return the rank of the first merge that makes each text, from either form of tokenizer.json."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges if isinstance(merges, list) else []):
        halves = pair.split(" ", 1) if isinstance(pair, str) else pair
        if isinstance(halves, list) and all(isinstance(half, str) for half in halves):
            ranks.setdefault("".join(halves), rank)
    return ranks


def _within(
    folder: Path, by_id: dict[int, str], added: dict[int, dict[str, Any]], n_vocab: int | None
) -> tuple[int, dict[int, str], dict[int, dict[str, Any]]]:
    """Return the number of tokens, and the base vocabulary and the added tokens without those beyond vocab_size.

    Only added tokens may be beyond it: they have no embedding, and llama.cpp splits their texts like any other.

    Raises:
        UserError: another id is beyond vocab_size, or one is beyond any vocabulary's.
    """
    path = folder / "tokenizer.json"
    size = n_vocab if n_vocab is not None else max(*by_id, *added, 0) + 1
    if size > _MAX_VOCAB:
        raise UserError(f"{path} has the token id {size - 1}, which is beyond any vocabulary; download it again")
    texts_added = {entry["content"] for entry in added.values()}
    beyond = [token_id for token_id, text in by_id.items() if token_id >= size and text not in texts_added]
    if beyond:
        raise UserError(
            f"{path} has the token id {max(beyond)}, but vocab_size in config.json is {size}; "
            "the files do not belong together"
        )
    kept = {token_id: text for token_id, text in by_id.items() if token_id < size}
    return size, kept, {token_id: entry for token_id, entry in added.items() if token_id < size}


def _content(settings: dict[str, Any], name: str) -> str | None:
    entry = settings.get(name)
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None


def _by_id(folder: Path, tokenizer: dict[str, Any]) -> dict[int, str]:
    vocab = tokenizer["model"].get("vocab")
    if not isinstance(vocab, dict) or not vocab:
        raise UserError(f"{folder / 'tokenizer.json'} has no vocabulary; download it again")
    by_id: dict[int, str] = {}
    for text, token_id in vocab.items():
        if type(token_id) is not int or not 0 <= token_id < _MAX_VOCAB:
            raise UserError(f"{folder / 'tokenizer.json'} has a token with the id {token_id!r}; download it again")
        if token_id in by_id:
            raise UserError(f"{folder / 'tokenizer.json'} has two tokens with the id {token_id}; download it again")
        by_id[token_id] = text
    return by_id


def byte_characters() -> list[str]:
    """Return the printable characters that represent the 256 bytes in byte-level BPE. Source: GPT-2's byte encoder."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    characters, shifted = [], 0
    for byte in range(256):
        if byte in printable:
            characters.append(chr(byte))
        else:
            characters.append(chr(256 + shifted))
            shifted += 1
    return characters
