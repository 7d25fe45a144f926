"""What llama.cpp cannot express: a closed list. Each entry changes the checkpoint's tokenizer to what llama.cpp does.

A line that differs belongs to an entry if the tokenizer so changed gives llama.cpp's ids; anything else is an error of
the conversion.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from quant.convert.tokenizer.pre import llama_split
from quant.convert.tokenizer.spaces import puts_space_first, steps
from quant.convert.verify.reference import Frame

_WORD_SPACE = "\u2581"
# Tokens behind which llama.cpp keeps spaces in a model whose name contains phi-3, as it removes them behind all others.
# Source: impl::load in src/llama-vocab.cpp of the pinned llama.cpp.
_PHI_3_KEPT = {"<unk>", "<s>", "<|endoftext|>"}


class Known(NamedTuple):
    """One thing that llama.cpp cannot express."""

    code: str
    what: str
    changed: Callable[[Frame], Frame | None]  # what llama.cpp does; None: the tokenizer has no such thing


def _without_nfc(frame: Frame) -> Frame | None:
    kept = _without(frame.normalizer, "normalizers", "NFC")
    return None if kept == frame.normalizer else msgspec.structs.replace(frame, normalizer=kept)


def _with_spaces_in_front(frame: Frame) -> Frame | None:
    """Add a space to every part of a text between special tokens, whatever it begins with."""
    if _nodes(frame, "Metaspace"):
        if not puts_space_first({"pre_tokenizer": frame.pre_tokenizer}):
            return None
        normalizers = [
            *([frame.normalizer] if frame.normalizer else []),
            {"type": "Prepend", "prepend": _WORD_SPACE},
            {"type": "Replace", "pattern": {"String": " "}, "content": _WORD_SPACE},
        ]
        frame = msgspec.structs.replace(
            frame,
            normalizer={"type": "Sequence", "normalizers": normalizers},
            pre_tokenizer=_without(frame.pre_tokenizer, "pretokenizers", "Metaspace"),
        )
    elif not _nodes(frame, "Prepend"):
        return None
    # A normalized added token is looked for in the normalized text, so no space is added behind it.
    return _with_flags(frame, normalized=False)


def _without_strip(frame: Frame) -> Frame | None:
    if not any(entry.get("lstrip") or entry.get("rstrip") for entry in frame.added_tokens):
        return None
    return _with_flags(frame, lstrip=False, rstrip=False)


def _with_phi_3_strip(frame: Frame) -> Frame | None:
    added = [
        {**entry, "lstrip": False, "rstrip": entry.get("content") not in _PHI_3_KEPT} for entry in frame.added_tokens
    ]
    return msgspec.structs.replace(frame, added_tokens=added) if added else None


def _with_llama_split(frame: Frame) -> Frame | None:
    node = llama_split(frame.pre_tokenizer)
    return None if node is None else msgspec.structs.replace(frame, pre_tokenizer=node)


def _without_beyond(frame: Frame) -> Frame | None:
    kept = [entry for entry in frame.added_tokens if frame.n_tokens is None or int(entry["id"]) < frame.n_tokens]
    return None if len(kept) == len(frame.added_tokens) else msgspec.structs.replace(frame, added_tokens=kept)


KNOWN = (
    Known("beyond", "llama.cpp has no tokens beyond the rows of the embedding", _without_beyond),
    Known("nfc", "llama.cpp does not normalize text to NFC", _without_nfc),
    Known("spaces", "llama.cpp adds a space to every text, and after every special token", _with_spaces_in_front),
    Known("strip", "llama.cpp keeps the spaces around added tokens", _without_strip),
    Known("phi3-strip", "llama.cpp removes the spaces after added tokens in models named phi-3", _with_phi_3_strip),
    Known("split", "llama.cpp's pre-tokenizer of this name splits some scripts differently", _with_llama_split),
)


def _with_flags(frame: Frame, **flags: bool) -> Frame:
    return msgspec.structs.replace(frame, added_tokens=[{**entry, **flags} for entry in frame.added_tokens])


def _nodes(frame: Frame, kind: str) -> list[dict[str, Any]]:
    """Return all steps of a type."""
    return [
        step for node in (frame.normalizer, frame.pre_tokenizer) for step in steps(node) if step.get("type") == kind
    ]


def _without(node: Any, inner: str, kind: str) -> Any:
    """Remove the steps of a type; None where nothing is left."""
    if not isinstance(node, dict) or node.get("type") == kind:
        return None
    if node.get("type") != "Sequence":
        return node
    kept = [each for each in (_without(step, inner, kind) for step in node.get(inner) or []) if each is not None]
    return {**node, inner: kept} if kept else None
