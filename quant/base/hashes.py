"""Files' sha256, remembered: a file that has not changed since is not read again."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from quant.base.errors import UserError
from quant.base.files import cache_dir, sha256_of, write_text
from quant.base.progress import Progress, silent

_KEPT_FILES = 10_000
_LOCK_SECONDS = 10.0


def cached_sha256(paths: Sequence[Path], progress: Progress = silent) -> str:
    """Hash one file, or of several shards the list of their hashes, as `sha256_of` does.

    A file counts as unchanged while its path, size, time of change and inode stay; the memory is a file in the cache
    folder and may be lost at any time.

    Raises:
        UserError: a file cannot be read.
    """
    digests = [_one(path, progress) for path in paths]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _one(path: Path, progress: Progress) -> str:
    name = str(path.resolve())
    try:
        mark = _mark(path)
        known = _read().get(name)
        if isinstance(known, list) and known[:-1] == mark and _is_sha256(known[-1]):
            return str(known[-1])
        digest = sha256_of([path], progress)
        # A file that changed while it was read has no hash worth keeping.
        if _mark(path) == mark:
            _remember(name, [*mark, digest])
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    return digest


def remember_sha256(path: Path, sha256: str) -> None:
    """Remember the hash of a file that was just written, where it was computed on the way."""
    with suppress(OSError):
        _remember(str(path.resolve()), [*_mark(path), sha256])


def _mark(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64


def _memory() -> Path:
    return cache_dir() / "hashes.json"


def _read() -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(_memory().read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _remember(name: str, entry: list[Any]) -> None:
    """Add one entry under a lock; a cache folder that cannot be written costs time, not the result."""
    from filelock import FileLock, Timeout

    with suppress(OSError, UserError, Timeout):
        _memory().parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{_memory()}.lock", timeout=_LOCK_SECONDS):
            known = _read()
            known.pop(name, None)
            known[name] = entry
            if len(known) > _KEPT_FILES:
                known = {path: kept for path, kept in known.items() if Path(path).exists()}
                known = dict(list(known.items())[-_KEPT_FILES:])
            write_text(_memory(), json.dumps(known, indent=0))
