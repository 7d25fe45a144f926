"""Special tokens: which added ones are control tokens; their ids, the merges and the templates by gguf's reader."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import gguf

from quant.base.errors import UserError
from quant.convert.tokenizer.files import check_size

# Added tokens that are control tokens although their files do not say so.
# Source: does_token_look_special in conversion/base.py of the pinned llama.cpp.
_CONTROL = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}
_BRACKETS = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))  # noqa: RUF001  DeepSeek writes the wide bar
_WORD_SPACE = "\u2581"
_READ_BY_GGUF = (
    "config.json", "tokenizer_config.json", "merges.txt", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
# What a space inside a half of a merge is written as, where a space parts the halves. Source: gguf/vocab.py.
_SPACE_LETTER = chr(ord(" ") + 256)


def looks_special(text: str) -> bool:
    """Tell whether a token's text has the form of a control token."""
    return text in _CONTROL or any(text.startswith(first) and text.endswith(last) for first, last in _BRACKETS)


def plain_spaces(text: str) -> str:
    """Write SentencePiece's word space as a space: llama.cpp expects user-defined tokens normalized."""
    return text.replace(_WORD_SPACE, " ")


def added_tokens(tokenizer: dict[str, Any], settings: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Give the added tokens by id, of tokenizer.json and of tokenizer_config.json; the former's entries count."""
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
    """Read a token id that is the key of a JSON object; None where it is none."""
    return int(key) if key.isdecimal() and len(key) < 10 else None


def _is_added(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("content"), str)


def special_vocab(
    folder: Path, tokenizer: dict[str, Any] | None = None, *, n_vocab: int | None = None, load_merges: bool = False
) -> gguf.SpecialVocab:
    """Read merges, special ids and templates with gguf's own reader.

    Args:
        tokenizer: the content of tokenizer.json, where it was read before. gguf's reader then gets a copy without the
            vocabulary and the merges, through which it takes half a second where there are 150,000 of each.

    Raises:
        UserError: a file is odd, at which that reader fails, or too large for it.
    """
    templates = list((folder / "additional_chat_templates").glob("*.jinja"))
    read = [path for path in (*(folder / name for name in _READ_BY_GGUF), *templates) if path.is_file()]
    for path in read:
        check_size(path)
    try:
        if tokenizer is None:
            return gguf.SpecialVocab(folder, load_merges=load_merges, n_vocab=n_vocab)
        merges = _joined(tokenizer["model"].get("merges")) if load_merges else []
        with tempfile.TemporaryDirectory(prefix="slmprof.") as small:
            for path in read:
                copy = Path(small) / path.relative_to(folder)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, copy)
            rest = {key: value for key, value in tokenizer.items() if key != "model"}
            (Path(small) / "tokenizer.json").write_text(json.dumps(rest))
            special = gguf.SpecialVocab(small, load_merges=load_merges and not merges, n_vocab=n_vocab)
        special.merges = special.merges or merges
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OSError, RecursionError) as error:
        raise UserError(
            f"the special tokens of {folder} cannot be read ({error}); check its tokenizer files"
        ) from error
    return special


def _joined(merges: Any) -> list[str]:
    """Give merges as GGUF has them, a space between the halves, from either of their two spellings.

    Raises:
        ValueError: they are spelled in no known way.
        TypeError: a half is no text.
    """
    if not isinstance(merges, list) or not merges:
        return []
    if isinstance(merges[0], str):
        return merges
    if not isinstance(merges[0], list) or len(merges[0]) != 2:
        raise ValueError("its merges are spelled in an unknown way")
    return [
        text if text.count(" ") == 1 else " ".join(half.replace(" ", _SPACE_LETTER) for half in pair)
        for pair in merges
        for text in (" ".join(pair),)
    ]
