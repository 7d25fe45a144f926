"""The steps of a tokenizer.json that put a space before a text."""

from collections.abc import Iterator
from typing import Any

_MAX_STEPS = 1000


def steps(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the steps of a normalizer or pre-tokenizer, however they are nested."""
    waiting, n_seen = [node], 0
    while waiting and n_seen < _MAX_STEPS:
        each, n_seen = waiting.pop(0), n_seen + 1
        if isinstance(each, dict):
            yield each
            for key in ("normalizers", "pretokenizers"):
                waiting += each[key] if isinstance(each.get(key), list) else []


def has_step(node: Any, kind: str) -> bool:
    """Return whether a normalizer or pre-tokenizer has a step of a type."""
    return any(step.get("type") == kind for step in steps(node))


def puts_space_first(tokenizer: dict[str, Any]) -> bool:
    """Return whether a SentencePiece-like tokenizer puts a space before a text."""
    for step in steps(tokenizer.get("pre_tokenizer")):
        if step.get("type") == "Metaspace":
            # Files of before 2024 have add_prefix_space in its place.
            default = "always" if step.get("add_prefix_space", True) else "never"
            return bool(step.get("prepend_scheme", default) != "never")
    return has_step(tokenizer.get("normalizer"), "Prepend")
