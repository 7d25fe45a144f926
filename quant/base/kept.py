"""Values kept in the cache folder as JSON: what takes long to find out is found out once."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from quant.base.errors import UserError
from quant.base.files import CACHE_ADVICE, cache_dir, write_text

T = TypeVar("T")


class KeptJson(Generic[T]):
    """One value of type `T`, in a file of the cache folder that may be lost or damaged at any time."""

    def __init__(self, name: str, kind: type[T]) -> None:
        self._name = name  # "folder/file.json"
        self._kind = kind

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return cache_dir() / self._name

    def read(self) -> T | None:
        """Return the value; None where there is none of this type."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=self._kind)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def write(self, value: T) -> None:
        """Keep a value in the place of an older one.

        Raises:
            UserError: the cache folder cannot be written.
        """
        write_text(self.path, msgspec.json.encode(value).decode(), advice=CACHE_ADVICE)

    def try_write(self, value: T) -> None:
        """Keep a value that can be found out again: a cache folder that cannot be written costs time, no result."""
        with suppress(UserError):
            self.write(value)

    def read_or(self, find_out: Callable[[], T]) -> T:
        """Return the kept value, else find it out and keep it."""
        value = self.read()
        if value is None:
            value = find_out()
            self.try_write(value)
        return value
