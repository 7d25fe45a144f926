"""What was found out of large results files, kept in the cache folder: the next command takes it from there.

It is kept under the state of the files (path, size, times, inode) and of this program's code, so that neither a file
nor an analysis that has changed since finds what is no longer so.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

import profiler
from quant.base.files import cache_dir
from quant.base.hashes import HashedFile
from quant.base.kept import KeptJson
from quant.base.text import printable_name

T = TypeVar("T")

MANY_BYTES = 32 << 20  # some 4000 rounds; smaller files are read within a second
_MOST_KEPT = 12  # some 50 MB each, of 100,000 rounds
_CODE = ("records", "results", "analysis", "compare")


def key_of(paths: Sequence[Path]) -> str | None:
    """Return the key of some files in their present state; None where they are too small for keeping to pay."""
    states = []
    with suppress(OSError):
        states = [(printable_name(path.resolve()), HashedFile.of(path)) for path in paths]
    if sum(path.stat().st_size for path in paths if path.is_file()) < MANY_BYTES or not states:
        return None
    return hashlib.sha256(msgspec.json.encode([states, _code()])).hexdigest()[:32]


def kept(key: str | None, name: str, kind: type[T], find_out: Callable[[], T]) -> T:
    """Return what is kept under a key and name, else find it out and keep it; without a key keep nothing."""
    if key is None:
        return find_out()
    store = KeptJson(f"results/{key}-{name}.json", kind)
    value = store.read()
    if value is None:
        value = find_out()
        store.try_write(value)
        _drop_oldest()
    return value


@cache
def _code() -> str:
    """Hash the code that the kept values depend on."""
    folder = Path(profiler.__file__).parent
    code = hashlib.sha256()
    for path in sorted(path for name in _CODE for path in (folder / name).glob("*.py")):
        code.update(path.read_bytes())
    return code.hexdigest()


def _drop_oldest() -> None:
    with suppress(OSError):
        for path in sorted((cache_dir() / "results").iterdir(), key=lambda path: path.stat().st_mtime)[:-_MOST_KEPT]:
            path.unlink(missing_ok=True)
