"""Files written whole or not at all, and the cache folder."""

import errno
import hashlib
import os
import shutil
import stat
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
# How a Git LFS pointer starts: what a clone without `git lfs pull` has in place of a large file. Source: git-lfs's
# docs/spec.md.
_POINTER = b"version https://git-lfs.github.com/spec/"
POINTER_BYTES = len(_POINTER)
# As much as cp writes at once. Larger writes take larger pages, which the host of a virtual machine reclaims when they
# are free and must provide again: there steps of 4 MiB took twice as long.
_WRITE_BYTES = 128 << 10
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MOST_LINKS = 40  # as many as Linux follows


def cache_dir() -> Path:
    """Return the folder for converted and quantized files: SLMPROF_CACHE, else the system's own cache folder."""
    if chosen := os.environ.get("SLMPROF_CACHE"):
        return Path(os.path.expanduser(chosen))  # noqa: PTH111  as it is where there is no home
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("slmprof", appauthor=False))
    # A user without a home has "~", which would be a folder of this name here. Nothing is kept then.
    return folder if folder.is_absolute() else Path(os.devnull) / "slmprof"


def refuse_pointer(path: Path, start: bytes) -> None:
    """Refuse a Git LFS pointer.

    Args:
        start: the file's first bytes, POINTER_BYTES or more.

    Raises:
        UserError: it is one.
    """
    if start.startswith(_POINTER):
        raise UserError(
            f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder, or download the file"
        )


@contextmanager
def atomic_path(target: Path, *, advice: str = "choose another -o", read_again: bool = False) -> Iterator[Path]:
    """Yield a temporary path that takes the name `target` when the block succeeds, else is removed.

    What stands under that name is never replaced by something else: the file behind a symbolic link is written, a file
    keeps its mode, and a device, a pipe or one of this process's descriptors (/dev/stdout) receives the content.

    Args:
        advice: what the user can do when the folder cannot be written.
        read_again: whether the target is read after it is written, which only a file can be.

    Raises:
        UserError: the folder cannot be made or written, the disk is full, or the target cannot be read again.
    """
    try:
        before = _status(target)
        if is_stream(target):
            if read_again:
                raise UserError(f"{target} is a device or a pipe, and the file is read again; {advice}")
            with tempfile.TemporaryDirectory(prefix="slmprof.") as folder:
                part = Path(folder) / (target.name or "part")
                part.touch()
                yield part
                _pour(part, target)
            return
        real = Path(os.path.realpath(target)) if target.is_symlink() else target
        real.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=part_prefix(real), suffix=".part", dir=real.parent)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot write {target}: {write_problem(error, advice)}") from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        _dress(part, before)
        part.replace(real)
    except OSError as error:
        raise UserError(f"cannot write {target}: {write_problem(error, advice)}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_problem(error: OSError, advice: str, *, room: str = "free space or") -> str:
    """Return why writing failed and what to do; only a full disk needs `room`."""
    advice = f"{room} {advice}" if error.errno in _FULL else advice
    return f"{error.strerror or error}; {advice}"


def move_to(made: Path, target: Path) -> None:
    """Rename a finished file on the same disk to `target`, as `atomic_path` does.

    Raises:
        UserError: the target is a device or a pipe.
    """
    if is_stream(target):
        raise UserError(f"{target} is a device or a pipe, and the file is read again; choose another -o")
    before = _status(target)
    _dress(made, before)
    made.replace(os.path.realpath(target) if target.is_symlink() else target)


def is_stream(target: Path) -> bool:
    """Return whether a name is that of a device, a pipe, a socket or a descriptor of this process."""
    if _descriptor(target) is not None:
        return True
    before = _status(target)
    return before is not None and not stat.S_ISREG(before.st_mode) and not stat.S_ISDIR(before.st_mode)


@contextmanager
def readable_again(target: Path) -> Iterator[Path]:
    """Yield the target itself, or for a device or a pipe a temporary file whose content goes there in the end.

    Raises:
        UserError: the target cannot be written.
    """
    try:
        stream = is_stream(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; choose another -o") from error
    if not stream:
        yield target
        return
    with atomic_path(target) as part:
        yield part


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _descriptor(target: Path) -> int | None:
    """Return the number of the open descriptor that a name like /dev/stdout, /dev/fd/3 or a link to one stands for.

    Opening such a name again would begin at the start of a file that the shell appends to.
    """
    folders = ("/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd")
    name = os.path.abspath(target)  # noqa: PTH100  resolve() would follow the descriptor itself
    for _ in range(_MOST_LINKS):
        folder, last = os.path.split(name)
        if folder in folders and last.isdigit():
            return int(last)
        try:
            name = os.path.normpath(os.path.join(folder, os.readlink(name)))  # noqa: PTH115, PTH118
        except OSError:
            return None
    return None


def _pour(part: Path, target: Path) -> None:
    number = _descriptor(target)
    with part.open("rb") as source, target.open("wb") if number is None else os.fdopen(os.dup(number), "wb") as sink:
        shutil.copyfileobj(source, sink)


def _dress(part: Path, before: os.stat_result | None) -> None:
    """Set the mode and the owner of a new file to those of the one that it replaces."""
    if before is None or not stat.S_ISREG(before.st_mode):
        # mkstemp makes files private; a result is as readable as any file the user makes.
        part.chmod(0o666 & ~_umask())
        return
    if hasattr(os, "chown"):
        with suppress(OSError):  # only root can give a file away
            os.chown(part, before.st_uid, before.st_gid)
    part.chmod(stat.S_IMODE(before.st_mode))


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
