"""What this program remembers of the files it quantized: which input gave which content, and what it fell back to.

Everything is known by content, so a file may be moved and is still known, and one that was changed is not.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

import msgspec

from quant.base.errors import UserError
from quant.base.files import cache_dir, write_text
from quant.base.ints import Int64


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """The content that an input gave at a level, and what its own header does not tell."""

    sha256: str  # of the output
    fallbacks: dict[str, Int64] = {}  # "q4_K -> q5_0" -> number of tensors
    imatrix_sha256: str | None = None


def key_of(*parts: str | None) -> str:
    """Give the key of a piece of work: a hash of everything that its result depends on."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def made_from(key: str) -> Made | None:
    """Give what this work made before; None where nothing is remembered."""
    return _read(_folder() / f"key-{key}.json")


def made_as(sha256: str) -> Made | None:
    """Give what is known of a content that was made here; None for any other."""
    made = _read(_folder() / f"file-{sha256}.json")
    return made if made and made.sha256 == sha256 else None


def remember(key: str | None, made: Made) -> None:
    """Keep what was made. A cache folder that cannot be written costs time later, not the result."""
    text = msgspec.json.encode(made).decode()
    with suppress(UserError):
        write_text(_folder() / f"file-{made.sha256}.json", text)
        if key:
            write_text(_folder() / f"key-{key}.json", text)


def _folder() -> Path:
    return cache_dir() / "quantized"


def _read(path: Path) -> Made | None:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Made)
    return None
