"""A checkpoint's tokenizer files, made again from the vocabulary of a GGUF file."""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gguf import TokenType
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.support.checkpoints import decoder_config, write_checkpoint
from tests.support.pre_tokenizers import BY_NAME, IGNORING_MERGES
from tests.support.vocabularies import write_sentencepiece_model

_KEY = "tokenizer.ggml."
_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class Stored(NamedTuple):
    """The vocabulary of a GGUF file."""

    model: str
    pre: str | None
    texts: list[str]
    types: list[int]
    scores: list[float] | None
    merges: list[str] | None
    others: dict[str, Any]  # special ids, and whether they are added


def read_vocabulary(path: Path) -> Stored:
    """Read a GGUF file's vocabulary; gguf's own reader takes half a minute for the larger ones."""
    values = read_tokenizer_keys(path)
    return Stored(
        model=values.pop("model"),
        pre=values.pop("pre", None),
        texts=values.pop("tokens"),
        types=values.pop("token_type"),
        scores=values.pop("scores", None),
        merges=values.pop("merges", None),
        others={key: value for key, value in values.items() if key.endswith(("token_id", "_token"))},
    )


def read_tokenizer_keys(path: Path) -> dict[str, Any]:
    """Return the keys of a GGUF file's vocabulary, without what they begin with."""
    return {key.removeprefix(_KEY): value for key, value in _key_values(path.read_bytes()) if key.startswith(_KEY)}


def _key_values(data: bytes) -> Iterator[tuple[str, Any]]:
    """Walk a GGUF file's keys. Source: the GGUF specification, version 3, in docs/gguf.md of ggml."""
    place = 0

    def number(form: str) -> Any:
        nonlocal place
        (value,) = struct.unpack_from(f"<{form}", data, place)
        place += struct.calcsize(form)
        return value

    def text() -> str:
        nonlocal place
        length = number("Q")
        place += length
        return data[place - length : place].decode()

    def value(kind: int) -> Any:
        if kind == _STRING:
            return text()
        if kind == _ARRAY:
            inner, length = number("I"), number("Q")
            return [value(inner) for _ in range(length)]
        return number(_FORMS[kind])

    assert data[:4] == b"GGUF"
    place = 16  # behind the magic, the version and the number of tensors
    for _ in range(number("Q")):
        key = text()
        yield key, value(number("I"))


def train_vocabulary(texts: list[str]) -> Stored:
    """Return a byte-level vocabulary that merges whole texts, over every border of words: a border changes the ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1 << 16, min_frequency=1, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return Stored(
        model="gpt2",
        pre=None,
        texts=sorted(model["vocab"], key=model["vocab"].__getitem__),
        types=[int(TokenType.NORMAL)] * len(model["vocab"]),
        scores=None,
        merges=[" ".join(pair) for pair in model["merges"]],
        others={"bos_token_id": 0, "eos_token_id": 0},
    )


def rebuild_checkpoint(stored: Stored, folder: Path) -> Path:
    """Write a tiny Llama checkpoint with a file's vocabulary and return the folder."""
    config = decoder_config(hidden=32, layers=1, heads=2, kv_heads=1, ffn=32, vocab=len(stored.texts))
    ids = {key: value for key, value in stored.others.items() if key.endswith("_token_id")}
    write_checkpoint(folder, {**config, **ids}, tokenizer="none")
    settings = {key: value for key, value in stored.others.items() if key.startswith("add_")}
    if stored.model == "llama":
        settings |= _write_sentencepiece(stored, folder)
    else:
        _write_byte_level(stored, folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def is_padding(stored: Stored, token_id: int) -> bool:
    """Return whether a token fills the vocabulary up to the config's size, so that no tokenizer file has it."""
    return stored.texts[token_id] == f"[PAD{token_id}]"


def type_today(stored: Stored, token_id: int) -> int:
    """Return the type that llama.cpp's converter assigns to a token today; some files were made with other types.

    Source: get_vocab_base and does_token_look_special in conversion/base.py of the pinned llama.cpp.
    """
    if is_padding(stored, token_id):
        return int(TokenType.UNUSED)
    looks_special = re.fullmatch(r"<\|.*\|>|<｜.*｜>|<pad>|<mask>", stored.texts[token_id])  # noqa: RUF001
    if stored.types[token_id] == TokenType.USER_DEFINED and looks_special:
        return int(TokenType.CONTROL)
    return stored.types[token_id]


def _write_byte_level(stored: Stored, folder: Path) -> None:
    """Write tokenizer.json; tokens behind the last ordinary one are added tokens, outside the model."""
    assert stored.pre is not None
    n_model = 1 + max(place for place, kind in enumerate(stored.types) if kind == TokenType.NORMAL)
    vocab = {text: token_id for token_id, text in enumerate(stored.texts[:n_model])}
    assert len(vocab) == n_model
    added = [
        {
            "id": token_id,
            "content": text,
            "special": stored.types[token_id] == TokenType.CONTROL,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for token_id, text in enumerate(stored.texts)
        if stored.types[token_id] != TokenType.NORMAL and not is_padding(stored, token_id)
    ]
    model = {"type": "BPE", "vocab": vocab, "merges": stored.merges, "ignore_merges": stored.pre in IGNORING_MERGES}
    content = {"version": "1.0", "added_tokens": added, "pre_tokenizer": BY_NAME[stored.pre], "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def _write_sentencepiece(stored: Stored, folder: Path) -> dict[str, Any]:
    """Write tokenizer.model and return the settings that add what is behind its pieces or no longer one of them."""
    assert stored.scores is not None
    n_pieces = 1 + max(place for place, kind in enumerate(stored.types) if kind == TokenType.NORMAL)
    pieces = list(zip(stored.texts[:n_pieces], stored.scores[:n_pieces], stored.types[:n_pieces], strict=True))
    write_sentencepiece_model(folder, pieces)
    return {
        "added_tokens_decoder": {
            str(token_id): {"content": text, "special": stored.types[token_id] == TokenType.CONTROL}
            for token_id, text in enumerate(stored.texts)
            if (token_id >= n_pieces or stored.types[token_id] == TokenType.USER_DEFINED)
            and not is_padding(stored, token_id)
        }
    }
