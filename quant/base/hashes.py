"""SHA-256 of files, kept in the cache folder: a file that has not changed is not read again."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Self

import msgspec

from quant.base.errors import UserError
from quant.base.files import sha256_of
from quant.base.kept import KeptJson
from quant.base.text import printable_name

_KEPT_FILES = 10_000
_LOCK_SECONDS = 10.0


class HashedFile(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when it was hashed. It counts as unchanged while all but the hash stay the same."""

    n_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    sha256: Annotated[str, msgspec.Meta(min_length=64, max_length=64)] = "0" * 64

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return what identifies a file's content, without its hash."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)

    def with_hash(self, sha256: str) -> Self:
        """Return the same with another hash."""
        return msgspec.structs.replace(self, sha256=sha256)


_KEPT = KeptJson("hashes.json", dict[str, HashedFile])


def cached_sha256(paths: Sequence[Path]) -> str:
    """Hash one file, or of several shards the list of their hashes, as `sha256_of` does.

    Raises:
        UserError: a file cannot be read.
    """
    digests = [_one(path) for path in paths]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _one(path: Path) -> str:
    name = printable_name(path.resolve())
    try:
        before = HashedFile.of(path)
        known = (_KEPT.read() or {}).get(name)
        if known is not None and known == before.with_hash(known.sha256):
            return known.sha256
        digest = sha256_of([path])
        # A file that changed while it was read has no hash worth keeping.
        if HashedFile.of(path) == before:
            _keep(name, before.with_hash(digest))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    return digest


def remember_sha256(path: Path, sha256: str) -> None:
    """Keep the hash of a file that was just written, where it was computed on the way."""
    with suppress(OSError):
        _keep(printable_name(path.resolve()), HashedFile.of(path).with_hash(sha256))


def _keep(name: str, hashed: HashedFile) -> None:
    """Add one entry under a lock; a cache folder that cannot be written costs time, not the result."""
    from filelock import FileLock, Timeout

    with suppress(OSError, Timeout):
        _KEPT.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{_KEPT.path}.lock", timeout=_LOCK_SECONDS):
            known = _KEPT.read() or {}
            known.pop(name, None)
            known[name] = hashed
            if len(known) > _KEPT_FILES:
                known = {path: kept for path, kept in known.items() if Path(path).exists()}
                known = dict(list(known.items())[-_KEPT_FILES:])
            _KEPT.try_write(known)
