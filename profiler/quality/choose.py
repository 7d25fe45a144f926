"""The files to score, and what they are compared with: the unquantized model, or a file that was named."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiler.quality.vocabulary import refuse_other_vocabulary
from quant.base.errors import UserError
from quant.base.progress import say
from quant.gguf_io.artifact import open_model
from quant.sources.prepare import Prepared, PrepareOptions, prepare
from quant.sources.real_weights import refusal, refuse_synthetic
from quant.sources.resolve import Source, resolve

UNQUANTIZED = ("F16", "BF16", "F32")


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Files to score."""

    files: tuple[Prepared, ...]  # as requested
    reference: Prepared | None  # it may be one of them; None where the source has none

    @property
    def all_files(self) -> tuple[Prepared, ...]:
        """The files and the reference, each once."""
        if self.reference is None or any(_is_same(file, self.reference) for file in self.files):
            return self.files
        return (self.reference, *self.files)


def _is_same(file: Prepared, other: Prepared) -> bool:
    return file.artifact.sha256 == other.artifact.sha256


def choose(source: str, prepare_options: PrepareOptions) -> Chosen:
    """Prepare the requested files and the unquantized model: the first unquantized level in the request, else F16.

    Raises:
        UserError: the weights are synthetic, or a file cannot be made.
    """
    if prepare_options.synthetic:
        raise refusal(source)
    files = prepare([source], prepare_options)
    refuse_synthetic(files)
    reference = next((file for file in files if file.artifact.level in UNQUANTIZED), None)
    if reference is None:
        reference = unquantized(resolve(source), prepare_options)
        if reference is None:
            say(
                f"{source} has no unquantized file; only perplexity is measured, no KLD; "
                "--reference names a file to compare with, which may be itself where KV caches are compared"
            )
    return Chosen(files=tuple(files), reference=reference)


def choose_against(reference: Path, sources: Sequence[str], prepare_options: PrepareOptions) -> Chosen:
    """Prepare the requested files, to be compared with a GGUF file of the same vocabulary.

    Raises:
        UserError: weights are synthetic, a file cannot be made, or it has another vocabulary than the reference.
    """
    as_it_is = msgspec.structs.replace(prepare_options, levels=None)
    if resolve(str(reference)).kind != "gguf":
        raise UserError(f"--reference {reference} is not a GGUF file; convert it first, or omit --reference")
    (base,) = prepare([str(reference)], as_it_is)
    files = prepare(sources, prepare_options)
    refuse_synthetic([base, *files])
    header = open_model(base.path)
    for file in files:
        if not _is_same(file, base):
            refuse_other_vocabulary(open_model(file.path), header)
    return Chosen(files=tuple(files), reference=base)


def unquantized(source: Source, prepare_options: PrepareOptions) -> Prepared | None:
    """Return the unquantized file of a source, made if need be; None where it has none.

    Raises:
        UserError: it cannot be downloaded or made.
    """
    if source.kind == "gguf":
        (itself,) = prepare([source.text], msgspec.structs.replace(prepare_options, levels=None))
        refuse_synthetic([itself])
        return itself if itself.artifact.level in UNQUANTIZED else None
    level = "F16"
    if source.kind == "hub":
        from quant.hub.fetch import gguf_levels, holds_ggufs

        assert source.repo is not None
        if holds_ggufs(source.repo, source.revision):
            available = gguf_levels(source.repo, source.revision)
            found = next((name for name in UNQUANTIZED if name in available), None)
            if found is None:
                return None
            level = found
    # An importance matrix is noted in the file, which would make another file of the same weights.
    unquantized = msgspec.structs.replace(prepare_options, levels=level, imatrix=None)
    return prepare([source.text], unquantized)[0]
