"""A note beside a GGUF file that says what it was made of: each input file by name, size and sha256."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from quant.base.files import write_text
from quant.base.hashes import cached_sha256
from quant.base.llama_package import llama_build
from quant.base.progress import Progress, silent
from quant.convert.origin import Origin

_ENDINGS = (".safetensors", ".json", ".model", ".txt", ".jinja", ".md", ".tiktoken")


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a checkpoint, or an importance matrix."""

    name: str
    n_bytes: int
    sha256: str


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What a file was made of, and by what."""

    file: str
    made_by: str  # this program's version
    llama_build: str  # whose quantizers made the bytes
    origin: Origin
    inputs: tuple[Input, ...]


def note_of(gguf: Path) -> Path:
    """Give the place of a file's note."""
    return gguf.with_name(f"{gguf.name}.provenance.json")


def inputs_of(checkpoint: Path, imatrix: Path | None = None, progress: Progress = silent) -> tuple[Input, ...]:
    """Hash every file that a conversion reads; files that did not change since are not read again.

    Raises:
        UserError: a file cannot be read.
    """
    paths = sorted(path for path in checkpoint.iterdir() if path.suffix in _ENDINGS and path.is_file())
    paths += [imatrix] if imatrix else []
    return tuple(
        Input(name=path.name, n_bytes=path.stat().st_size, sha256=cached_sha256([path], progress)) for path in paths
    )


def write_notes(paths: Sequence[Path], origin: Origin, inputs: tuple[Input, ...]) -> None:
    """Write the note of each file.

    Raises:
        UserError: a note cannot be written.
    """
    try:
        made_by = f"slmprof {version('slmprof')}"
    except PackageNotFoundError:
        made_by = "slmprof"
    for path in paths:
        note = Provenance(
            file=path.name,
            made_by=made_by,
            llama_build=llama_build(),
            origin=origin,
            inputs=inputs,
        )
        write_text(note_of(path), msgspec.json.format(msgspec.json.encode(note), indent=1).decode() + "\n")
