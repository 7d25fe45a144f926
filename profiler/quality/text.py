"""The text that is scored or that an importance matrix is taken from: the shipped one, or a user's file."""

import hashlib
from pathlib import Path

import msgspec

from profiler.measure.workloads import CORPUS, read_corpus
from quant.base.errors import UserError
from quant.base.units import format_bytes

_MOST_BYTES = 64 << 20


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A text; results keep its name and hash, so that figures of different texts are never compared."""

    name: str
    content: bytes  # UTF-8, without the end of the last line: llama.cpp's tools read a file so

    @property
    def sha256(self) -> str:
        """The hash of its bytes."""
        return hashlib.sha256(self.content).hexdigest()


def default_text() -> Text:
    """Give the corpus that comes with the program."""
    return Text(name=CORPUS, content=_trimmed(read_corpus().encode()))


def read_text(path: Path) -> Text:
    """Read a user's file.

    Raises:
        UserError: it cannot be read, is too long, or is no UTF-8 text.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes > _MOST_BYTES:
            raise UserError(
                f"--text {path} has {format_bytes(n_bytes)}, more than {format_bytes(_MOST_BYTES)}; give a part of it"
            )
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read --text {path}: {error.strerror}; give a text file") from error
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"--text {path} is no UTF-8 text (byte {error.start}); give a text file") from error
    return Text(name=path.name, content=_trimmed(content))


def _trimmed(content: bytes) -> bytes:
    return content.removesuffix(b"\n")
