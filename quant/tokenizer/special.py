"""Which added tokens are control tokens."""

from typing import Any

# Added tokens that are control tokens although their files do not say so.
# Source: does_token_look_special in conversion/base.py of the pinned llama.cpp.
_CONTROL = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}
_BRACKETS = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))  # noqa: RUF001  DeepSeek writes the wide bar
_WORD_SPACE = "\u2581"


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
