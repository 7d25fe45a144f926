"""The files of one source's levels, each made when it is first needed, and deleted when it is not needed any longer."""

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from quant.base.kept import KeptJson
from quant.base.progress import say
from quant.convert.provenance import note_of
from quant.sources.prepare import Prepared, PrepareOptions, prepare


class LevelFiles:
    """Makes a level's file once. Only what a pick made itself is deleted, also what an earlier run of it made.

    Args:
        there: files that are there already, by level.
    """

    def __init__(self, source: str, options: PrepareOptions, there: Mapping[str, Prepared] | None = None) -> None:
        self._source, self._options, self._there_already = source, options, there or {}
        self._files: dict[str, Prepared] = {}
        self._made = KeptJson(f"picks/{name_of(options.models_dir, source)}.json", list[str])

    def at(self, level: str) -> Prepared:
        """Return a level's file, made now if it is not there.

        Raises:
            UserError: it cannot be downloaded or made.
        """
        if level in self._there_already:
            return self._there_already[level]
        if level not in self._files:
            options = msgspec.structs.replace(self._options, levels=level)
            self._files[level] = self.noting(lambda: prepare([self._source], options)[0])
        return self._files[level]

    def noting(self, make: Callable[[], Prepared]) -> Prepared:
        """Make a file, and note it where it is a new one."""
        before = self._there()
        prepared = make()
        if new := self._there() - before:
            self._made.try_write(sorted({*(self._made.read() or []), *new}))
        return prepared

    def drop(self, level: str) -> None:
        """Delete a level's file if a pick made it; one that is needed later is made again."""
        if (file := self._files.pop(level, None)) is not None:
            self._delete(file.path)

    def drop_all_but(self, kept: Path | None) -> None:
        """Delete every file that a pick made here, with one exception."""
        self._files = {level: file for level, file in self._files.items() if file.path == kept}
        for name in self._made.read() or []:
            path = self._options.models_dir / name
            if path != kept:
                self._delete(path)

    def _there(self) -> set[str]:
        return {path.name for path in self._options.models_dir.glob("*.gguf")}

    def _delete(self, path: Path) -> None:
        made = self._made.read() or []
        if path.parent != self._options.models_dir or path.name not in made:
            return
        with suppress(OSError):
            path.unlink(missing_ok=True)
            note_of(path).unlink(missing_ok=True)
            self._made.try_write([name for name in made if name != path.name])
            say(f"deleted {path.name}, which is not needed any longer; --keep all keeps it")


def name_of(place: Path, what: str) -> str:
    """Return a name in the cache folder for something that belongs to a place, whose name may be no text."""
    return hashlib.sha256(os.fsencode(place.absolute()) + b"\0" + os.fsencode(what)).hexdigest()[:32]
