"""What LevelWriter and its process send to each other, a JSON line each.

The first request opens a source: the process lays out the tensors, writes a GGUF file that is all header, and replies
`Opened`. The second one names the types and files of the levels; `Step` comes now and then until all are `Finished`.
`Refused` can come instead of any reply.
"""

import msgspec

from quant.convert.provenance import Origin, TokenCheck


class OpenCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Open a checkpoint."""

    checkpoint: str
    header: str  # the file without weights, to be written
    pre: str | None = None
    adapter: str | None = None  # its folder
    origin: Origin = Origin()
    allow_token_mismatch: bool = False


class OpenShape(msgspec.Struct, frozen=True, kw_only=True):
    """Lay out a model of synthetic weights."""

    config: dict[str, object]
    standin_for: str
    header: str  # the file without weights, to be written
    seed: int = 0
    hashed: bool = False  # hash the files while they are written


class LevelFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file of one level, to be written."""

    level: str
    path: str
    types: dict[str, str]  # tensor -> ggml type


class WriteLevels(msgspec.Struct, frozen=True, kw_only=True):
    """Write the files of all levels."""

    files: tuple[LevelFile, ...]
    n_threads: int
    imatrix: str | None = None
    imatrix_keys: dict[str, str | int] = {}


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The source is open."""

    stem: str  # of the files' names, by gguf's convention, without the level
    notes: tuple[str, ...] = ()  # on what is unusual in the source


class Step(msgspec.Struct, frozen=True, tag=True):
    """How much is written, in whatever unit `total` counts."""

    done: int
    total: int


class Finished(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """All files are written."""

    n_overflowed: int = 0  # finite values that are infinite in float16
    sha256: tuple[str, ...] = ()  # of each file, where it was computed while writing
    tokens: TokenCheck | None = None  # None: synthetic weights, without a tokenizer


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The request cannot be met, for a reason that the user can act on."""

    reason: str


Reply = Opened | Step | Finished | Refused
