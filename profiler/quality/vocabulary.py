"""Do two GGUF files have the same vocabulary, so that their predictions can be compared token by token?

What decides how a text is read must be equal: the kind of tokenizer, the pre-tokenizer, each token's text and type,
scores or merges, special ids. What only one file states is the other's default in llama.cpp and not compared; the same
holds for the padding token, which is in no text and which makers of files are known to change.
Source of the keys: load_vocab in src/llama-vocab.cpp of the pinned llama.cpp.
"""

import struct
from collections.abc import Iterator

from quant.base.errors import UserError
from quant.base.text import printable
from quant.gguf_io.header import SCALARS, STRING, GgufHeader, LongArray

_PREFIX = "tokenizer.ggml."
_TOKENS, _TYPES, _SCORES, _MERGES = (f"{_PREFIX}{name}" for name in ("tokens", "token_type", "scores", "merges"))
_CHARS_MAP = f"{_PREFIX}precompiled_charsmap"
_LISTS = {_TOKENS: "token", _TYPES: "type of token", _SCORES: "score of token", _MERGES: "merge"}
_PADDING = f"{_PREFIX}padding_token_id"
_FLAGS = tuple(f"{_PREFIX}{name}" for name in ("add_bos_token", "add_space_prefix", "remove_extra_whitespaces"))
_MOST_CHARS = 24  # of a token in a message

Item = int | float | bool | str


def refuse_other_vocabulary(file: GgufHeader, reference: GgufHeader) -> None:
    """Check that two files read every text as the same tokens.

    Raises:
        UserError: they do not, or one has no vocabulary.
    """
    for header in (file, reference):
        if not header.length(_TOKENS):
            raise UserError(f"{header.paths[0]} has no vocabulary; quality needs a model with its tokenizer")
    found = _difference(file, reference)
    if found is not None:
        raise UserError(
            f"{file.paths[0].name} cannot be compared with {reference.paths[0].name}: {found}; "
            "use a reference with the same vocabulary"
        )


def _difference(file: GgufHeader, reference: GgufHeader) -> str | None:
    """Return what differs first."""
    for key, what, default in ((f"{_PREFIX}model", "tokenizer", ""), (f"{_PREFIX}pre", "pre-tokenizer", "default")):
        if (one := file.text(key) or default) != (other := reference.text(key) or default):
            return f"its {what} is {_quoted(one)}, the reference's {_quoted(other)}"
    has_merges = file.text(f"{_PREFIX}model") == "gpt2"  # whose scores llama.cpp does not read
    for key, what in _LISTS.items():
        if not (key == _SCORES and has_merges) and (found := _list_difference(file, reference, key, what)):
            return found
    if found := _list_difference(file, reference, _CHARS_MAP, "byte of its normalizer's table"):
        return found
    special = sorted(key for key in file.metadata if key.startswith(_PREFIX) and key.endswith("_token_id"))
    for key in (*special, *_FLAGS):
        mine, its = file.metadata.get(key), reference.metadata.get(key)
        if key != _PADDING and mine is not None and its is not None and mine != its:
            return f"its {key.removeprefix(_PREFIX)} is {_quoted(mine)}, the reference's {_quoted(its)}"
    return None


def _list_difference(file: GgufHeader, reference: GgufHeader, key: str, what: str) -> str | None:
    n_one, n_other = file.length(key), reference.length(key)
    name = key.removeprefix(_PREFIX)
    if n_one != n_other:
        return f"it has {n_one or 0} {name}, the reference {n_other or 0}"
    if n_one is None or _stored(file, key) == _stored(reference, key):
        return None
    for number, (one, other) in enumerate(zip(_items(file, key), _items(reference, key), strict=True)):
        if one != other:
            return f"its {what} {number} is {_quoted(one)}, the reference's {_quoted(other)}"
    return None  # numbers of another width


def _stored(header: GgufHeader, key: str) -> object:
    """Return a list as it is stored: equal bytes are equal lists, and need no item to be read."""
    value = header.metadata[key]
    return (value.kind, _bytes_of(header, value)) if isinstance(value, LongArray) else value


def _items(header: GgufHeader, key: str) -> Iterator[Item]:
    """Yield the items of a list."""
    value = header.metadata[key]
    if isinstance(value, LongArray):
        data = _bytes_of(header, value)
        yield from _texts(data) if value.kind == STRING else _numbers(data, value.kind)
    elif isinstance(value, tuple):
        yield from value


def _bytes_of(header: GgufHeader, value: LongArray) -> bytes:
    with header.paths[0].open("rb") as file:
        file.seek(value.offset)
        return file.read(value.n_bytes)


def _texts(data: bytes) -> Iterator[str]:
    at = 0
    while at + 8 <= len(data):
        n_bytes = int.from_bytes(data[at : at + 8], "little")
        yield data[at + 8 : at + 8 + n_bytes].decode("utf-8", errors="replace")
        at += 8 + n_bytes


def _numbers(data: bytes, kind: int) -> Iterator[Item]:
    for (number,) in struct.iter_unpack(f"<{SCALARS[kind]}", data):
        yield number


def _quoted(value: object) -> str:
    """Return an untrusted value for a message of one line."""
    if isinstance(value, str):
        shown = printable(value[:_MOST_CHARS])
        return f"'{shown}{'…' if len(value) > _MOST_CHARS else ''}'"
    return "missing" if value is None else str(value)
