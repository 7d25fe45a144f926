"""Read a tokenizer's untrusted files: bounded, and of JSON only objects."""

from pathlib import Path
from typing import Any

from quant.base.errors import UserError
from quant.convert.json_file import read_object

MAX_BYTES = 128 << 20  # the largest known tokenizer.json has some 40 MiB


def check_size(path: Path) -> None:
    """Refuse a file that is larger than any tokenizer's.

    Raises:
        UserError: it is too large, or cannot be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than any such file known; is it the right one?")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def read_bytes(path: Path) -> bytes:
    """Read a file of bounded size.

    Raises:
        UserError: it cannot be read or is too large.
    """
    check_size(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def encoded(text: str, path: Path) -> bytes:
    """Return a token's bytes.

    Raises:
        UserError: it has a lone surrogate, which JSON allows.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{path} has a token that is no text ({text[:20]!r}); download it again") from error


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where there is no such file.

    Raises:
        UserError: the file is no JSON object, or too large.
    """
    return read_object(path, MAX_BYTES) if path.is_file() else None
