"""Files written whole or not at all, and the cache folder."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from quant.base.errors import UserError
from quant.base.progress import progress
from quant.base.units import format_bytes

CACHE_ADVICE = "set SLMPROF_CACHE to another folder"
_READ_BYTES = 1 << 20
# As much as cp writes at once. Larger writes take larger pages, which the host of a virtual machine reclaims when they
# are free and must provide again: there steps of 4 MiB took twice as long.
_WRITE_BYTES = 128 << 10


def cache_dir() -> Path:
    """Return the folder for converted and quantized files: SLMPROF_CACHE, else the system's own cache folder."""
    if chosen := os.environ.get("SLMPROF_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("slmprof", appauthor=False))


@contextmanager
def atomic_path(target: Path, *, advice: str = "choose another -o") -> Iterator[Path]:
    """Yield a temporary path next to `target` that takes its name when the block succeeds, else is removed.

    Args:
        advice: what the user can do when the folder cannot be written.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=part_prefix(target), suffix=".part", dir=target.parent)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; {advice}") from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        # mkstemp makes files private; a result is as readable as any file the user makes.
        part.chmod(0o666 & ~_umask())
        part.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}; free space or {advice}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_in_steps(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write many bytes in steps that are written fastest."""
    view = memoryview(data).cast("B")
    for first in range(0, len(view), _WRITE_BYTES):
        file.write(view[first : first + _WRITE_BYTES])


def part_prefix(target: Path) -> str:
    """Return the start of the names that `atomic_path` gives to a file's unfinished parts."""
    return f".{target.name[:50]}."  # a name has 255 bytes at most, and a character up to four


def write_text(target: Path, text: str, *, advice: str = "choose another -o") -> None:
    """Write a text file whole or not at all."""
    with atomic_path(target, advice=advice) as part:
        part.write_text(text, encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def require_space(
    folder: Path,
    need_bytes: int,
    what: str,
    *,
    hint: str = "choose another folder (-o, or SLMPROF_CACHE for kept files)",
) -> None:
    """Refuse early when a folder's disk has too little space for what is about to be written.

    Raises:
        UserError: fewer than `need_bytes` and a margin of 1 % are free.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < need_bytes * 1.01:
        raise UserError(
            f"{what} needs {format_bytes(need_bytes)} in {folder}, only {format_bytes(free_bytes)} are free; "
            f"free space, or {hint}"
        )


def sha256_of(paths: list[Path]) -> str:
    """Hash one file; of several shards, hash the list of their hashes."""
    total = sum(path.stat().st_size for path in paths)
    done = 0
    digests = []
    buffer = bytearray(_READ_BYTES)
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while n_read := file.readinto(buffer):
                digest.update(memoryview(buffer)[:n_read])
                done += n_read
                progress("hash", done, total)
        digests.append(digest.hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
