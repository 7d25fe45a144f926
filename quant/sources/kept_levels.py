"""A source's GGUF files at several levels, each made once: kept files are known by what they were made of."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from quant.base.errors import UserError
from quant.base.kept import KeptJson
from quant.base.progress import say
from quant.base.text import printable_name
from quant.convert.provenance import INPUT_SUFFIXES, Origin
from quant.convert.weight_files import holds_weights
from quant.gguf_io.levels import file_name, levels_requested_by_name, parse_levels

if TYPE_CHECKING:
    from quant.quantize.from_checkpoint import LevelWriter, Written

# Raised when the output changes, so that kept files are made again.
_CHECKPOINT_VERSION = 3
_SHAPE_VERSION = 1


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """What a file was made of, and its size and time then."""

    bytes: int
    mtime_ns: int
    identity: str


@dataclass(frozen=True)
class KeptLevels:
    """The files of one source in a folder."""

    folder: Path
    identity: str  # hash of everything that the files depend on
    imatrix: Path | None = None

    def files_at(
        self, levels: str, open_writer: Callable[[], "LevelWriter"], what: str
    ) -> tuple[list[Path], list["Written"]]:
        """Return the file of each level, in their order, and those that were written now.

        Args:
            levels: as typed.
            open_writer: called where a file is missing, or a group of levels has to be looked into.
            what: the source in words, for the line that reports which levels are written next.

        Raises:
            UserError: the source is wrong, a level cannot be made, or the disk is full.
        """
        names = parse_levels(levels)
        paths = self._find(names)
        written: list[Written] = []
        if levels_requested_by_name(levels) != set(names) or len(paths) != len(names):
            with open_writer() as writer:
                names = writer.levels(levels, imatrix=self.imatrix)
                if missing := [name for name in names if name not in paths]:
                    say(f"making {', '.join(missing)} {what}")
                    written = writer.write(
                        missing,
                        lambda level: self.folder / file_name(writer.stem, level),
                        imatrix=self.imatrix,
                    )
                    paths |= {each.level: each.path for each in written}
        return [paths[name] for name in names], written

    def keep(self, written: Sequence["Written"]) -> None:
        """Note what the files were made of, by their paths, and their fallback types, by their content."""
        from quant.base.hashes import cached_sha256
        from quant.gguf_io.quantized import QuantizedFacts, remember

        imatrix_sha256 = cached_sha256([self.imatrix]) if self.imatrix else None
        for each in written:
            sha256 = cached_sha256([each.path])
            remember(None, QuantizedFacts(sha256=sha256, fallbacks=each.fallbacks, imatrix_sha256=imatrix_sha256))
            _kept_note(each.path).try_write(self._note_of(each.path))

    def _find(self, levels: Sequence[str]) -> dict[str, Path]:
        """Find kept files without opening the source, which would know the stem of their names."""
        return {
            level: path
            for level in levels
            for path in sorted(self.folder.glob(file_name("*", level)))
            if path.exists() and _kept_note(path).read() == self._note_of(path)
        }

    def _note_of(self, path: Path) -> _Note:
        status = path.stat()
        return _Note(bytes=status.st_size, mtime_ns=status.st_mtime_ns, identity=self.identity)


def _kept_note(path: Path) -> KeptJson[_Note]:
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
    return KeptJson(f"conversions/{name}.json", _Note)


def checkpoint_identity(folder: Path, pre: str | None, imatrix: Path | None, origin: Origin) -> str:
    """Hash what a conversion depends on: small files by content, weights by name, size and time of change.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    settings = (_CHECKPOINT_VERSION, pre, _hash_of(imatrix), msgspec.to_builtins(origin))
    digest = hashlib.sha256(msgspec.json.encode(settings))
    try:
        for path in sorted(folder.iterdir()):
            if holds_weights(path):
                status = path.stat()
                digest.update(f"{printable_name(path.name)}:{status.st_size}:{status.st_mtime_ns}".encode())
            elif path.suffix in INPUT_SUFFIXES and path.is_file():
                digest.update(f"{printable_name(path.name)}:{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}; download the checkpoint again") from error
    return digest.hexdigest()


def shape_identity(config: dict[str, object], name: str, imatrix: Path | None) -> str:
    """Hash what files with synthetic weights depend on."""
    from quant.base.llama_package import llama_build

    settings = (_SHAPE_VERSION, llama_build(), config, name, _hash_of(imatrix))
    return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()


def _hash_of(imatrix: Path | None) -> str | None:
    from quant.base.hashes import cached_sha256

    return cached_sha256([imatrix]) if imatrix else None
