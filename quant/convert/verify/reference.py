"""The checkpoint's own tokenizer: the tokenizers library on tokenizer.json, else sentencepiece on tokenizer.model.

No code of the checkpoint runs: both libraries read data.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec

from quant.base.errors import UserError
from quant.base.text import message_line
from quant.convert.tokenizer.files import read_bytes, read_json
from quant.convert.tokenizer.post_processor import added_ends
from quant.convert.tokenizer.rwkv import FILE_NAME, read_words

_MOST_SPECIAL = 48  # of the added tokens, in the probe


class Frame(msgspec.Struct, kw_only=True):
    """What surrounds a tokenizer.json's model, as in the file."""

    normalizer: Any = None
    pre_tokenizer: Any = None
    added_tokens: list[dict[str, Any]] = []
    n_tokens: int | None = None  # of the GGUF file


class Reference(Protocol):
    """A tokenizer whose ids are the truth."""

    library: str

    @property
    def special_texts(self) -> tuple[str, ...]:
        """Added tokens, for the probe."""

    @property
    def frame(self) -> Frame | None:
        """What surrounds the model; None where it cannot be changed."""

    @property
    def modes(self) -> tuple[bool, ...]:
        """With and without BOS and EOS, as far as the library knows them."""

    def encode(self, text: str, *, add_special: bool) -> tuple[int, ...]:
        """Return the ids of a text, with special tokens parsed."""

    def framed(self, frame: Frame) -> "Reference":
        """Return the same model in another frame."""


class TokenizersReference:
    """A tokenizer.json in the tokenizers library."""

    library = "tokenizers"
    modes = (False, True)

    def __init__(self, tokenizer: Any, frame: Frame) -> None:
        self._tokenizer, self.frame = tokenizer, frame

    @property
    def special_texts(self) -> tuple[str, ...]:
        """Added tokens: the first and the last ones."""
        texts = [entry["content"] for entry in self.frame.added_tokens]
        half = _MOST_SPECIAL // 2
        return tuple(dict.fromkeys([*texts[:half], *texts[-half:]]))

    def encode(self, text: str, *, add_special: bool) -> tuple[int, ...]:
        """Return the ids of a text, with special tokens parsed."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=add_special).ids)

    def ids_of_special(self, settings: dict[str, Any]) -> dict[str, int]:
        """Return the ids of the BOS and EOS that the settings name."""
        named = [settings.get(name) for name in ("bos_token", "eos_token")]
        texts = [each.get("content") if isinstance(each, dict) else each for each in named]
        ids = {text: self._tokenizer.token_to_id(text) for text in texts if isinstance(text, str)}
        return {text: token_id for text, token_id in ids.items() if token_id is not None}

    def add_ends(self, before: list[int], after: list[int]) -> None:
        """Add these ids to a text, unless there is a post-processor."""
        from tokenizers import processors

        if self._tokenizer.post_processor is None and (before or after):
            texts = {token_id: str(self._tokenizer.id_to_token(token_id)) for token_id in before + after}
            single = [*(texts[each] for each in before), "$A", *(texts[each] for each in after)]
            named = [(text, token_id) for token_id, text in texts.items()]
            self._tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=named)

    def framed(self, frame: Frame) -> Self:
        """Return the same model, which is not copied, in another frame."""
        from tokenizers import Tokenizer

        bare = {
            "version": "1.0",
            "added_tokens": [],
            "normalizer": frame.normalizer,
            "pre_tokenizer": frame.pre_tokenizer,
            "model": {"type": "BPE", "vocab": {}, "merges": []},
        }
        made = Tokenizer.from_str(json.dumps(bare))
        made.model = self._tokenizer.model
        if self._tokenizer.post_processor is not None:
            made.post_processor = self._tokenizer.post_processor
        made.add_tokens([_added(entry) for entry in sorted(frame.added_tokens, key=lambda entry: int(entry["id"]))])
        return type(self)(made, frame)


def _added(entry: dict[str, Any]) -> Any:
    from tokenizers import AddedToken

    flags = {name: bool(entry.get(name)) for name in ("single_word", "lstrip", "rstrip", "normalized", "special")}
    return AddedToken(entry["content"], **flags)


class SentencePieceReference:
    """A tokenizer.model in the sentencepiece library, which adds no BOS and knows no added tokens."""

    library = "sentencepiece"
    modes = (False,)
    special_texts = ()
    frame = None

    def __init__(self, encode: Callable[[str], list[int]]) -> None:
        self._encode = encode

    def encode(self, text: str, *, add_special: bool) -> tuple[int, ...]:
        """Return the ids of a text."""
        return tuple(self._encode(text))

    def framed(self, frame: Frame) -> "SentencePieceReference":
        """Return itself: there is no frame to change."""
        return self


class TrieReference:
    """A vocabulary of byte strings of which the longest match is taken, as RWKV has it; BOS is unknown."""

    library = "longest match"
    modes = (False,)
    special_texts = ()
    frame = None

    def __init__(self, words: list[bytes]) -> None:
        self._ids = {word: number for number, word in enumerate(words, start=1)}
        self._longest = max(map(len, words), default=0)

    def encode(self, text: str, *, add_special: bool) -> tuple[int, ...]:
        """Return the ids of a text."""
        data, ids, start = text.encode(), [], 0
        while start < len(data):
            ends = range(min(len(data), start + self._longest), start, -1)
            end = next((end for end in ends if data[start:end] in self._ids), None)
            if end is None:
                raise UserError(f"the vocabulary has no byte {data[start]}; download it again")
            ids.append(self._ids[data[start:end]])
            start = end
        return tuple(ids)

    def framed(self, frame: Frame) -> "TrieReference":
        """Return itself: there is no frame to change."""
        return self


class _Model(msgspec.Struct, kw_only=True):
    vocab: msgspec.Raw = msgspec.Raw(b"{}")


class _File(Frame, kw_only=True):
    model: _Model = msgspec.field(default_factory=_Model)


def open_reference(folder: Path, n_tokens: int) -> Reference | None:
    """Open a checkpoint's tokenizer; None where no library here reads it.

    Args:
        n_tokens: of the GGUF file.

    Raises:
        UserError: its library cannot read it.
    """
    path, pieces = folder / "tokenizer.json", folder / "tokenizer.model"
    if path.is_file():
        try:
            return _open_json(path, n_tokens)
        except UserError:
            if not pieces.is_file():
                raise
    if pieces.is_file():
        return _open_pieces(pieces)
    return TrieReference(read_words(folder)) if (folder / FILE_NAME).is_file() else None


def _open_json(path: Path, n_tokens: int) -> TokenizersReference:
    from tokenizers import Tokenizer

    data = read_bytes(path)
    try:
        file = msgspec.json.decode(data, type=_File)
        if bytes(file.model.vocab) in (b"{}", b"[]"):
            raise UserError(f"{path} has no vocabulary; download it again")
        tokenizer = Tokenizer.from_buffer(data)
    except UserError:
        raise
    except Exception as error:  # tokenizers raises no other type
        reason = message_line(str(error))
        raise UserError(f"the tokenizers library cannot read {path}: {reason}; download it again") from error
    # transformers takes neither from the file; some are saved with those of their training.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    frame = Frame(
        normalizer=file.normalizer,
        pre_tokenizer=file.pre_tokenizer,
        added_tokens=file.added_tokens,
        n_tokens=n_tokens,
    )
    reference = TokenizersReference(tokenizer, frame)
    config = read_json(path.parent / "config.json") or {}
    ids = {name: value for name in ("bos", "eos") if isinstance(value := config.get(f"{name}_token_id"), int)}
    return _with_settings(reference, read_json(path.parent / "tokenizer_config.json") or {}, ids)


def _with_settings(
    reference: TokenizersReference, settings: dict[str, Any], ids: dict[str, int]
) -> TokenizersReference:
    """Apply what transformers takes from tokenizer_config.json: add_prefix_space of a lone ByteLevel step, and BOS and
    EOS where tokenizer.json has no post-processor.
    """
    ends = added_ends({"model": {"vocab": reference.ids_of_special(settings)}}, settings, ids)
    if ends is not None:
        reference.add_ends(*ends)
    node = reference.frame.pre_tokenizer
    if not (isinstance(node, dict) and node.get("type") == "ByteLevel" and node.get("add_prefix_space")):
        return reference
    if settings.get("add_prefix_space"):
        return reference
    node = {**node, "add_prefix_space": False}
    return reference.framed(msgspec.structs.replace(reference.frame, pre_tokenizer=node))


def _open_pieces(path: Path) -> SentencePieceReference | None:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        return None
    try:
        processor = SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError, ValueError) as error:
        raise UserError(f"sentencepiece cannot read {path}: {message_line(str(error))}; download it again") from error
    return SentencePieceReference(processor.encode)
