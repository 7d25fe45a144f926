"""The cache folder: converted and quantized models, and small facts of files and of this device."""

import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from quant.base.errors import UserError
from quant.base.files import cache_dir

# Folders whose entries are listed one by one.
_LARGE = {
    "models": "GGUF files made by profile",
    "results": "what was found out of large results files",
    "quality": "left behind by a quality run that was killed",
    "picks": "what a pick goes on with: the unquantized model's distributions, the names of files that it made",
}
# Folders and files that are small, listed as one entry.
_SMALL = (
    "backend",
    "calibration",
    "ceiling",
    "conversions",
    "cpu",
    "estimate",
    "hashes.json",
    "hashes.json.lock",
    "quantized",
    "repack",
    "threads",
)
# Other processes may hold these; they are empty and are not removed.
_LOCKS = "locks"
KNOWN = (*_LARGE, *_SMALL, _LOCKS)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file or folder that can be made again."""

    name: str
    about: str
    n_bytes: int
    changed_s: float  # seconds since the epoch
    path: Path


def entries() -> list[Entry]:
    """List what is kept, largest first; small facts are one entry."""
    root = cache_dir()
    found = []
    for kind, about in _LARGE.items():
        for path in _children(root / kind):
            found.append(
                Entry(
                    name=f"{kind}/{path.name}", about=about, n_bytes=size_of(path), changed_s=_changed(path), path=path
                )
            )
    small = [root / name for name in _SMALL if (root / name).exists()]
    if small:
        found.append(
            Entry(
                name="notes",
                about="hashes and facts of files and of this device",
                n_bytes=sum(size_of(path) for path in small),
                changed_s=max(_changed(path) for path in small),
                path=root,
            )
        )
    return sorted(found, key=lambda entry: (-entry.n_bytes, entry.name))


def clean() -> int:
    """Remove what is kept, nothing outside the folder and nothing through a link; return how many bytes it took.

    Raises:
        UserError: the folder holds other things too, as when SLMPROF_CACHE is a home folder, or cannot be written.
    """
    root = cache_dir()
    if unknown := [path.name for path in _children(root) if path.name not in KNOWN and not path.name.startswith(".")]:
        raise UserError(
            f"{root} holds {unknown[0]}, which slmprof did not put there; remove it, or set SLMPROF_CACHE to a folder "
            "of its own"
        )
    freed_bytes = 0
    for path in (root / name for name in (*_LARGE, *_SMALL)):
        n_bytes = size_of(path)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot remove {path}: {error.strerror}; check who owns it") from error
        freed_bytes += n_bytes
    return freed_bytes


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; links are not followed, files that vanish count 0."""
    if path.is_dir() and not path.is_symlink():
        return sum(size_of(each) for each in _children(path))
    with suppress(OSError):
        return path.lstat().st_size
    return 0


def _children(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _changed(path: Path) -> float:
    with suppress(OSError):
        return path.lstat().st_mtime
    return 0.0
