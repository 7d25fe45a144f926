"""One process at a time makes a file, whatever its folder."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quant.base.errors import UserError
from quant.base.files import CACHE_ADVICE, cache_dir


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Wait until no other process of this user makes the file `target`, and keep others waiting until the block ends.

    The lock file is in the cache folder, so none is left next to the user's files; the system frees it when a process
    dies.

    Raises:
        UserError: the cache folder cannot be written.
    """
    from filelock import FileLock

    name = hashlib.sha256(os.fsencode(target.resolve())).hexdigest()
    lock = cache_dir() / "locks" / f"{name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock)
        held.acquire()
    except OSError as error:
        raise UserError(f"cannot write {lock.parent}: {error.strerror}; {CACHE_ADVICE}") from error
    try:
        yield
    finally:
        held.release()
