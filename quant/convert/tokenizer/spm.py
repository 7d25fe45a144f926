"""SentencePiece's tokenizer.model, a protocol buffer of pieces, read without the sentencepiece library.

Source: sentencepiece_model.proto (ModelProto: pieces = 1, trainer_spec = 2, normalizer_spec = 3; SentencePiece:
piece = 1, score = 2, type = 3; the fields of the other two below) and the protocol buffers' wire format.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gguf import TokenType

from quant.base.errors import UserError
from quant.convert.tokenizer.files import encoded, read_bytes, read_json
from quant.convert.tokenizer.special import added_tokens, looks_special, plain_spaces, written_id
from quant.convert.tokenizer.tokens import Tokens

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_MODEL_TYPE, _SUFFIX = 3, 24  # of the trainer's settings
_CHARSMAP, _DUMMY_PREFIX, _REMOVE_SPACES, _ESCAPE = 2, 3, 4, 5  # of the normalizer's
_BPE = 2
_PIECE, _SCORE, _TYPE = 1, 2, 3
_TYPES = {
    1: TokenType.NORMAL,
    2: TokenType.UNKNOWN,
    3: TokenType.CONTROL,
    4: TokenType.USER_DEFINED,
    5: TokenType.UNUSED,
    6: TokenType.BYTE,
}
_OF_TEXT = (TokenType.NORMAL, TokenType.BYTE, TokenType.UNKNOWN)  # what any text may be split into
_UNUSED_SCORE, _ADDED_SCORE = -10000.0, -1000.0  # as in llama.cpp's converter
_MAX_PIECES = 1 << 22


class _BrokenError(Exception):
    pass


class PieceModel(NamedTuple):
    """What a tokenizer.model holds."""

    path: Path
    pieces: list[tuple[bytes, float, TokenType]]
    adds_dummy_prefix: bool  # whether it puts a space before a text


def read_piece_model(path: Path) -> PieceModel:
    """Read a tokenizer.model.

    Raises:
        UserError: the file is no SentencePiece model, or one that llama.cpp does not compute.
    """
    try:
        fields = [(number, value) for number, value in _fields(read_bytes(path)) if isinstance(value, bytes)]
        pieces = [_piece(body) for number, body in fields if number == _PIECES]
        trainer, normalizer = _numbers(fields, _TRAINER), _numbers(fields, _NORMALIZER)
    except (_BrokenError, struct.error, IndexError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no SentencePiece model ({error}); download it again") from error
    if not pieces or len(pieces) > _MAX_PIECES:
        raise UserError(f"{path} holds {len(pieces)} pieces, so it is no SentencePiece model; download it again")
    # What is not written has the format's default: unigram, a space before the text, no more than one space. Every
    # trainer writes some settings; a file without any is taken for what llama.cpp computes.
    refused = {
        "is not a BPE model": bool(trainer) and trainer.get(_MODEL_TYPE, 1) != _BPE,
        "has spaces after words": bool(trainer.get(_SUFFIX, 0)),
        "normalizes text": bool(normalizer.get(_CHARSMAP, 0)),
        "removes extra spaces": bool(normalizer) and bool(normalizer.get(_REMOVE_SPACES, 1)),
        "does not escape spaces": not normalizer.get(_ESCAPE, 1),
    }
    if any(refused.values()):
        reason = next(text for text, holds in refused.items() if holds)
        raise UserError(
            f"{path} {reason}, which llama.cpp's SentencePiece tokenizer does not compute; "
            "save the model with a BPE tokenizer.json, or pass --converter DIR"
        )
    return PieceModel(path, pieces, bool(normalizer.get(_DUMMY_PREFIX, 1)))


def _numbers(fields: list[tuple[int, bytes]], wanted: int) -> dict[int, int]:
    """Return the fields of a message: integers as numbers, of other ones the length."""
    found: dict[int, int] = {}
    for number, body in fields:
        if number == wanted:
            found |= {inner: value if isinstance(value, int) else len(value) for inner, value in _fields(body)}
    return found


def sentencepiece_tokens(
    model: PieceModel, n_vocab: int | None, settings: dict[str, Any], adding: dict[str, Any] | None = None
) -> Tokens:
    """Return the tokens, with those added by other files; those beyond the vocabulary have no embedding.

    Args:
        adding: tokenizer.json, if it adds tokens too. Then all added texts are kept as written, and only those marked
            special are control tokens. Source: set_vocab in conversion/phi.py of the pinned llama.cpp.

    Raises:
        UserError: the model splits text into pieces beyond the vocabulary, or another file is broken.
    """
    folder, pieces = model.path.parent, model.pieces
    tokens = Tokens.padded(n_vocab or len(pieces), _UNUSED_SCORE)
    if any(kind in _OF_TEXT for _, _, kind in pieces[len(tokens.texts) :]):
        raise UserError(
            f"{model.path} has {len(pieces)} pieces, but vocab_size in config.json is {n_vocab}; "
            "the files do not belong together"
        )
    for token_id, (text, score, kind) in enumerate(pieces[: len(tokens.texts)]):
        # In llama.cpp's converter user-defined pieces are normal unless another file lists them.
        tokens.put(token_id, text, TokenType.NORMAL if kind == TokenType.USER_DEFINED else kind, score)

    def add(token_id: int, content: str, kind: TokenType, path: Path) -> None:
        if token_id < len(tokens.texts):
            tokens.put(token_id, encoded(content, path), kind, _ADDED_SCORE)

    path = folder / "added_tokens.json"
    for content, token_id in (read_json(path) or {}).items():
        if type(token_id) is int and token_id >= 0:
            add(token_id, content, TokenType.USER_DEFINED, path)
    path = folder / "tokenizer_config.json"
    decoder = settings.get("added_tokens_decoder")
    for key, entry in decoder.items() if isinstance(decoder, dict) else ():
        added_id = written_id(key)
        if added_id is None or not (isinstance(entry, dict) and isinstance(entry.get("content"), str)):
            raise UserError(f"added_tokens_decoder in {path} is broken at '{key[:20]}'; download it again")
        add(added_id, *_decoder_entry(entry, as_written=adding is not None), path)
    path = folder / "tokenizer.json"
    for token_id, entry in added_tokens(adding or {}, {}).items():
        kind = TokenType.CONTROL if entry.get("special") else TokenType.USER_DEFINED
        add(token_id, entry["content"], kind, path)
    return tokens


def _decoder_entry(entry: dict[str, Any], *, as_written: bool) -> tuple[str, TokenType]:
    content = entry["content"]
    if entry.get("special") or (not as_written and looks_special(content)):
        return content, TokenType.CONTROL
    return content if as_written else plain_spaces(content), TokenType.USER_DEFINED


def _piece(body: bytes) -> tuple[bytes, float, TokenType]:
    text, score, kind = b"", 0.0, TokenType.NORMAL
    for number, value in _fields(body):
        if number == _PIECE and isinstance(value, bytes):
            value.decode()  # raises if it is not UTF-8
            text = value
        elif number == _SCORE and isinstance(value, bytes) and len(value) == 4:
            score = float(struct.unpack("<f", value)[0])
        elif number == _TYPE and isinstance(value, int):
            if value not in _TYPES:
                raise _BrokenError(f"piece of the unknown type {value}")
            kind = _TYPES[value]
    return text, score, kind


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Walk the fields of one message: integers as numbers, everything else as its bytes."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == _BYTES:
            length, place = _varint(data, place)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise _BrokenError(f"field of the unknown wire type {wire}")
        if length > len(data) - place:
            raise _BrokenError("a field is longer than the file")
        yield number, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise _BrokenError("it ends within a number")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, place
    raise _BrokenError("a number is longer than 64 bits")
