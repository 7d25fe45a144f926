"""The folder of kept files: converted and quantized models, synthetic checkpoints, small notes."""

import shutil
from pathlib import Path

import msgspec

from quant.files import cache_dir

_ABOUT = {
    "models": "GGUF files made by profile",
    "synthetic": "checkpoints with random weights",
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file or folder that can be made again."""

    name: str
    about: str
    n_bytes: int
    path: Path


def entries() -> list[Entry]:
    """List what is kept, the largest first; notes of a few bytes are one entry."""
    root = cache_dir()
    found = []
    notes = 0
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder.name in _ABOUT and folder.is_dir():
            found += [
                Entry(name=f"{folder.name}/{each.name}", about=_ABOUT[folder.name], n_bytes=size_of(each), path=each)
                for each in folder.iterdir()
            ]
        else:
            notes += size_of(folder)
    if notes:
        found.append(
            Entry(name="notes", about="hashes and facts of files and of this device", n_bytes=notes, path=root)
        )
    return sorted(found, key=lambda entry: -entry.n_bytes)


def size_of(path: Path) -> int:
    """Add up the bytes of a file, or of all files in a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(size_of(each) for each in path.iterdir())


def clean() -> int:
    """Remove everything that is kept, nothing outside the folder; give the bytes."""
    root = cache_dir()
    if not root.is_dir():
        return 0
    freed = 0
    for each in root.iterdir():
        freed += size_of(each)
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
    return freed
