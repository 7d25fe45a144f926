"""The files to score, and which of them is the unquantized model that the others are compared with."""

from collections.abc import Sequence

import msgspec

from quant.base.errors import UserError
from quant.base.progress import say
from quant.sources.prepare import Prepared, PrepareOptions, prepare
from quant.sources.resolve import Source, resolve

UNQUANTIZED = ("F16", "BF16", "F32")


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Files of one model."""

    files: tuple[Prepared, ...]  # the reference is one of them, requested or not
    reference: Prepared | None  # None where the source has none


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
            say(f"{source} has no unquantized file; only perplexity is measured, no KLD")
    if reference is None or any(file.artifact.sha256 == reference.artifact.sha256 for file in files):
        return Chosen(files=tuple(files), reference=reference)
    return Chosen(files=(reference, *files), reference=reference)


def refuse_synthetic(files: Sequence[Prepared]) -> None:
    """Check that all weights are real.

    Raises:
        UserError: a file's weights are synthetic.
    """
    for file in files:
        if file.artifact.weights == "synthetic":
            raise refusal(file.artifact.model)


def refusal(name: str) -> UserError:
    """Return the error for synthetic weights."""
    return UserError(
        f"{name}: synthetic weights are random numbers, so there is no quality to lose; use a real checkpoint"
    )


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
