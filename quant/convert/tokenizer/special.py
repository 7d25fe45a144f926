"""Special tokens: which added tokens are control tokens; ids, merges and templates, read by gguf."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import gguf

from quant.base.errors import UserError
from quant.convert.json_file import read_object
from quant.convert.tokenizer.files import MAX_BYTES, check_size, read_json

# Added tokens that are control tokens although their files do not mark them.
# Source: does_token_look_special in conversion/base.py of the pinned llama.cpp.
_CONTROL = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}
_BRACKETS = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))  # noqa: RUF001  DeepSeek uses the full-width bar
_WORD_SPACE = "\u2581"
_READ_BY_GGUF = (
    "config.json", "tokenizer_config.json", "merges.txt", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
# Replaces a space within a half of a merge, since a space separates the halves. Source: gguf/vocab.py.
_SPACE_CHAR = chr(ord(" ") + 256)


def looks_special(text: str) -> bool:
    """Return whether a token's text looks like a control token."""
    return text in _CONTROL or any(text.startswith(first) and text.endswith(last) for first, last in _BRACKETS)


def plain_spaces(text: str) -> str:
    """Replace SentencePiece's word space by a space: llama.cpp expects normalized user-defined tokens."""
    return text.replace(_WORD_SPACE, " ")


def added_tokens(tokenizer: dict[str, Any], settings: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the added tokens by id, of tokenizer.json and tokenizer_config.json; the former has priority."""
    found: dict[int, dict[str, Any]] = {}
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        for key, entry in decoder.items():
            if (token_id := written_id(key)) is not None and _is_added(entry):
                found[token_id] = entry
    listed = tokenizer.get("added_tokens")
    for entry in listed if isinstance(listed, list) else []:
        if _is_added(entry) and type(entry.get("id")) is int and entry["id"] >= 0:
            found[entry["id"]] = entry
    return found


def written_id(key: str) -> int | None:
    """Parse a token id from a JSON key; None if it is not a number."""
    return int(key) if key.isdecimal() and len(key) < 10 else None


def _is_added(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("content"), str)


def special_vocab(
    folder: Path, tokenizer: dict[str, Any] | None = None, *, n_vocab: int | None = None, load_merges: bool = False
) -> gguf.SpecialVocab:
    """Read merges, special ids and templates with gguf's own reader.

    Args:
        tokenizer: the content of tokenizer.json, if already read. gguf's reader then reads a copy without the
            vocabulary and the merges; it takes half a second for 150,000 of each.

    Raises:
        UserError: that reader fails on a file, or a file is too large.
    """
    templates = list((folder / "additional_chat_templates").glob("*.jinja"))
    read = [path for path in (*(folder / name for name in _READ_BY_GGUF), *templates) if path.is_file()]
    for path in read:
        check_size(path)
    try:
        merges = _joined(tokenizer["model"].get("merges")) if tokenizer and load_merges else []
        with tempfile.TemporaryDirectory(prefix="slmprof.") as small:
            for path in read:
                copy = Path(small) / path.relative_to(folder)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, copy)
            config = read_object(folder / "config.json", MAX_BYTES) if folder / "config.json" in read else {}
            (Path(small) / "config.json").write_text(json.dumps(_with_valid_ids(config)))
            if tokenizer is None:
                tokenizer = read_json(folder / "tokenizer.json")
            if tokenizer is not None:
                rest = {key: value for key, value in tokenizer.items() if key != "model"}
                (Path(small) / "tokenizer.json").write_text(json.dumps(rest))
            special = gguf.SpecialVocab(small, load_merges=load_merges and not merges, n_vocab=n_vocab)
        special.merges = special.merges or merges
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OSError, RecursionError) as error:
        raise UserError(
            f"the special tokens of {folder} cannot be read ({error}); check its tokenizer files"
        ) from error
    return special


def _with_valid_ids(config: Any) -> Any:
    """Remove negative ids of special tokens, which mean that there is none."""
    if not isinstance(config, dict):
        return config
    return {
        key: _with_valid_ids(value) if key == "text_config" else value
        for key, value in config.items()
        if not (key.endswith("_token_id") and isinstance(value, int) and value < 0)
    }


def _joined(merges: Any) -> list[str]:
    """Return merges in GGUF's form, halves separated by a space, from either form of tokenizer.json.

    Raises:
        ValueError: they have an unknown form.
        TypeError: a half is not a string.
    """
    if not isinstance(merges, list) or not merges:
        return []
    if isinstance(merges[0], str):
        return merges
    if not isinstance(merges[0], list) or len(merges[0]) != 2:
        raise ValueError("its merges have an unknown form")
    return [
        text if text.count(" ") == 1 else " ".join(half.replace(" ", _SPACE_CHAR) for half in pair)
        for pair in merges
        for text in (" ".join(pair),)
    ]
