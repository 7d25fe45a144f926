"""Where a GGUF file comes from: `Origin`, and a file next to it that lists its inputs by name, size and sha256."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from quant.base.files import write_text
from quant.base.hashes import cached_sha256
from quant.base.llama_package import llama_build
from quant.base.text import pretty_json, printable_name
from quant.convert.weight_files import holds_weights

# Of the checkpoint's files that a conversion reads, but its weights.
INPUT_SUFFIXES = (".json", ".model", ".txt", ".jinja", ".jsonl", ".md", ".tiktoken")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a checkpoint came from, as far as it is known."""

    model: str | None = None  # general.name; None: what the model card or the directory has
    source: str | None = None  # hub repository
    revision: str | None = None  # its commit


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a checkpoint, or an importance matrix."""

    name: str
    n_bytes: int
    sha256: str


class TokenCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How a file's tokens compare with those of the checkpoint's own tokenizer."""

    reference: str | None  # "tokenizers" | "sentencepiece"; None: no library here reads the checkpoint's tokenizer
    n_lines: int  # compared
    differing: dict[str, int] = {}  # code -> lines; "mismatch" was allowed, others are what llama.cpp cannot express
    examples: dict[str, str] = {}  # code -> the first of these lines, with both lists of ids


def token_warnings(check: TokenCheck | None) -> list[str]:
    """Return what a user has to know of a file's tokens, a line each."""
    if check is None:
        return []
    if check.reference is None:
        return ["the tokens are not verified: no library here reads this tokenizer"]
    return [
        f"llama.cpp's tokens differ in {n_lines} of {check.n_lines} probes ({code}), first {check.examples[code]}"
        for code, n_lines in check.differing.items()
    ]


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a file, and the program that made it."""

    file: str
    made_by: str  # this program's version
    llama_build: str  # whose quantizers made the bytes
    origin: Origin
    inputs: tuple[Input, ...]
    tokens: TokenCheck | None = None


def note_of(gguf: Path) -> Path:
    """Return the path of a file's provenance."""
    return gguf.with_name(f"{gguf.name}.provenance.json")


def inputs_of(checkpoint: Path, imatrix: Path | None = None, adapter: Path | None = None) -> tuple[Input, ...]:
    """Hash every file that a conversion reads; hashes of unchanged files are cached.

    Raises:
        UserError: a file cannot be read.
    """
    paths = sorted(
        path
        for path in checkpoint.iterdir()
        if (path.suffix in INPUT_SUFFIXES or holds_weights(path)) and path.is_file()
    )
    paths += [imatrix] if imatrix else []
    paths += sorted(path for path in adapter.glob("adapter_*") if path.is_file()) if adapter else []
    return tuple(
        Input(name=printable_name(path.name), n_bytes=path.stat().st_size, sha256=cached_sha256([path]))
        for path in paths
    )


def write_notes(
    paths: Sequence[Path], origin: Origin, inputs: tuple[Input, ...], tokens: TokenCheck | None = None
) -> None:
    """Write the provenance of each file.

    Raises:
        UserError: a file cannot be written.
    """
    try:
        made_by = f"slmprof {version('slmprof')}"
    except PackageNotFoundError:
        made_by = "slmprof"
    for path in paths:
        note = Provenance(
            file=printable_name(path.name),
            made_by=made_by,
            llama_build=llama_build(),
            origin=origin,
            inputs=inputs,
            tokens=tokens,
        )
        write_text(note_of(path), pretty_json(note) + "\n")
