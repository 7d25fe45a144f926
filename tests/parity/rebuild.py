"""A checkpoint's tokenizer files, made again from the vocabulary of a GGUF file."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from gguf import GGUFReader, TokenType

from tests.support.checkpoints import decoder_config, write_checkpoint
from tests.support.pre_tokenizers import BY_NAME
from tests.support.vocabularies import write_sentencepiece_model

_KEY = "tokenizer.ggml."


class Stored(NamedTuple):
    """What a GGUF file says of its vocabulary."""

    model: str
    pre: str | None
    texts: list[str]
    types: list[int]
    scores: list[float] | None
    merges: list[str] | None
    others: dict[str, Any]  # special ids, and whether they are added


def read_vocabulary(path: Path) -> Stored:
    """Read a GGUF file's vocabulary."""
    fields = {key.removeprefix(_KEY): field for key, field in GGUFReader(path).fields.items() if key.startswith(_KEY)}
    values = {key: field.contents() for key, field in fields.items()}
    return Stored(
        model=values.pop("model"),
        pre=values.pop("pre", None),
        texts=values.pop("tokens"),
        types=values.pop("token_type"),
        scores=values.pop("scores", None),
        merges=values.pop("merges", None),
        others={key: value for key, value in values.items() if key.endswith(("token_id", "_token"))},
    )


def rebuild_checkpoint(stored: Stored, folder: Path) -> Path:
    """Write a tiny Llama checkpoint with a file's vocabulary, and give the folder."""
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
    """Tell whether a token fills the vocabulary up to the config's size, so that no tokenizer file has it."""
    return stored.texts[token_id] == f"[PAD{token_id}]"


def type_today(stored: Stored, token_id: int) -> int:
    """Give the type that llama.cpp's converter gives a token today; it gave others when some files were made.

    Source: get_vocab_base and does_token_look_special in conversion/base.py of the pinned llama.cpp.
    """
    if is_padding(stored, token_id):
        return int(TokenType.UNUSED)
    looks_special = re.fullmatch(r"<\|.*\|>|<｜.*｜>|<pad>|<mask>", stored.texts[token_id])  # noqa: RUF001
    if stored.types[token_id] == TokenType.USER_DEFINED and looks_special:
        return int(TokenType.CONTROL)
    return stored.types[token_id]


def _write_byte_level(stored: Stored, folder: Path) -> None:
    """Write tokenizer.json; tokens behind the last ordinary one are added, and stand outside the model."""
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
    model = {"type": "BPE", "vocab": vocab, "merges": stored.merges, "ignore_merges": stored.pre == "llama-bpe"}
    content = {"version": "1.0", "added_tokens": added, "pre_tokenizer": BY_NAME[stored.pre], "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def _write_sentencepiece(stored: Stored, folder: Path) -> dict[str, Any]:
    """Write tokenizer.model, and give the settings that add what is behind its pieces or no longer one of them."""
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
