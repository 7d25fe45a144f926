"""What a tokenizer.json's post-processor adds before and after a text; without one, tokenizer_config.json decides."""

from typing import Any

import msgspec


def added_ends(
    tokenizer: dict[str, Any], settings: dict[str, Any], ids: dict[str, int]
) -> tuple[list[int], list[int]] | None:
    """Return the ids that are added before and after a text; None where that cannot be read.

    Args:
        ids: of "bos" and "eos", where the settings add a token that they do not name.
    """
    node = tokenizer.get("post_processor")
    if node is None:
        return _by_settings(tokenizer, settings, ids)
    before: list[int] = []
    after: list[int] = []
    inner = node.get("processors") if isinstance(node, dict) else None
    for each in inner if isinstance(inner, list) else [node]:
        ends = _ends(each)
        if ends is None:
            return None
        before, after = ends[0] + before, after + ends[1]
    return before, after


def _by_settings(
    tokenizer: dict[str, Any], settings: dict[str, Any], known: dict[str, int]
) -> tuple[list[int], list[int]] | None:
    ends = []
    for name in ("bos", "eos"):
        token = settings.get(f"{name}_token")
        text = token.get("content") if isinstance(token, dict) else token
        ids = _ids_of(tokenizer, text) or ([known[name]] if name in known else [])
        if settings.get(f"add_{name}_token") is True and not ids:
            return None
        ends.append(ids[:1] if settings.get(f"add_{name}_token") is True else [])
    return ends[0], ends[1]


def _ids_of(tokenizer: dict[str, Any], text: Any) -> list[int]:
    listed, model = tokenizer.get("added_tokens"), tokenizer.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    ids = [
        token_id
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and each.get("content") == text and isinstance(token_id := each.get("id"), int)
    ]
    return ids or ([vocab[text]] if isinstance(vocab, dict) and isinstance(text, str) and text in vocab else [])


class _Name(msgspec.Struct):
    id: str


class _Piece(msgspec.Struct):
    special: _Name | None = msgspec.field(default=None, name="SpecialToken")  # None: where the text comes


class _Ids(msgspec.Struct):
    ids: list[int]


class _Template(msgspec.Struct):
    single: list[_Piece]
    special_tokens: dict[str, _Ids] | None = None


class _Pair(msgspec.Struct):
    cls: tuple[str, int]
    sep: tuple[str, int]


def _ends(node: Any) -> tuple[list[int], list[int]] | None:
    """Return what one post-processor adds before and after; None where it is unknown or broken."""
    kind = node.get("type") if isinstance(node, dict) else None
    if kind == "ByteLevel":
        return [], []
    try:
        if kind in ("BertProcessing", "RobertaProcessing"):
            pair = msgspec.convert(node, _Pair)
            return [pair.cls[1]], [pair.sep[1]]
        if kind == "TemplateProcessing":
            return _template_ends(msgspec.convert(node, _Template))
    except (msgspec.ValidationError, UnicodeEncodeError, KeyError):  # the file is untrusted
        return None
    return None


def _template_ends(template: _Template) -> tuple[list[int], list[int]]:
    named = template.special_tokens or {}
    before: list[int] = []
    after: list[int] = []
    side = before
    for piece in template.single:
        if piece.special is None:
            side = after
        else:
            side += named[piece.special.id].ids
    return before, after
