"""The text for quality and importance matrices: the one that comes with slmprof or a user's file, cut into windows."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiler.measure.workloads import CORPUS, read_corpus
from quant.base.errors import UserError
from quant.base.units import format_bytes

_MAX_BYTES = 64 << 20


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A text. Results keep its name and hash, so that figures of different texts are never compared."""

    name: str
    content: bytes  # UTF-8, without the end of the last line: llama.cpp's tools read a file so

    @property
    def sha256(self) -> str:
        """The hash of its bytes."""
        return hashlib.sha256(self.content).hexdigest()


def default_text() -> Text:
    """Return the corpus that comes with slmprof."""
    return Text(name=CORPUS, content=_trimmed(read_corpus().encode()))


def read_text(path: Path) -> Text:
    """Read a user's file.

    Raises:
        UserError: it cannot be read, is too long, or is not UTF-8.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes > _MAX_BYTES:
            raise UserError(
                f"--text {path} has {format_bytes(n_bytes)}, the limit is {format_bytes(_MAX_BYTES)}; use a part of it"
            )
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read --text {path}: {error.strerror}; choose a UTF-8 text file") from error
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"--text {path} is not UTF-8 (byte {error.start}); convert it to UTF-8") from error
    return Text(name=path.name, content=_trimmed(content))


def _trimmed(content: bytes) -> bytes:
    return content.removesuffix(b"\n")


def windows_of(text_tokens: Sequence[int], bos: int | None, n_ctx: int, n_windows: int | None) -> list[list[int]]:
    """Cut a text's tokens, without BOS, into whole windows of n_ctx, at most `n_windows`.

    As in llama-perplexity and llama-imatrix, BOS comes once before the text, and replaces each window's first token.
    """
    tokens = [*([] if bos is None else [bos]), *text_tokens]
    windows = [tokens[start : start + n_ctx] for start in range(0, len(tokens) - n_ctx + 1, n_ctx)][:n_windows]
    if bos is not None:
        for window in windows:
            window[0] = bos
    return windows
