"""Which files are scored, and which of them is the unquantized model that the others are compared with."""

from collections.abc import Callable, Sequence

import msgspec

from quant.base.errors import UserError
from quant.base.progress import Progress
from quant.sources.prepare import Prepared, Wishes, prepare
from quant.sources.resolve import Source, resolve

UNQUANTIZED = ("F16", "BF16", "F32")


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Files of one model."""

    files: tuple[Prepared, ...]  # the reference is one of them, whether it was asked for or not
    reference: Prepared | None  # None where the source has none


def choose(source: str, wishes: Wishes, *, progress: Progress, say: Callable[[str], None]) -> Chosen:
    """Make what is asked for, and the unquantized model: the first that is named among the levels, else F16.

    Raises:
        UserError: the weights are made up, or a file cannot be made.
    """
    if wishes.synthetic:
        raise refusal(source)
    files = prepare([source], wishes, progress=progress, say=say)
    refuse_synthetic(files)
    reference = next((file for file in files if file.artifact.level in UNQUANTIZED), None)
    if reference is None:
        reference = _unquantized(resolve(source), wishes, progress, say)
        if reference is None:
            say(f"{source} has no unquantized file, so there is perplexity and no divergence")
    if reference is None or any(file.artifact.sha256 == reference.artifact.sha256 for file in files):
        return Chosen(files=tuple(files), reference=reference)
    return Chosen(files=(reference, *files), reference=reference)


def refuse_synthetic(files: Sequence[Prepared]) -> None:
    """Let real weights pass.

    Raises:
        UserError: a file's weights are made up.
    """
    for file in files:
        if file.artifact.weights == "synthetic":
            raise refusal(file.artifact.model)


def refusal(name: str) -> UserError:
    """Say why made-up weights are not scored."""
    return UserError(
        f"{name}: synthetic weights are random numbers, so there is no quality to lose; give a real checkpoint"
    )


def _unquantized(source: Source, wishes: Wishes, progress: Progress, say: Callable[[str], None]) -> Prepared | None:
    if source.kind == "gguf":
        (itself,) = prepare([source.text], msgspec.structs.replace(wishes, levels=None), progress=progress, say=say)
        refuse_synthetic([itself])
        return itself if itself.artifact.level in UNQUANTIZED else None
    level = "F16"
    if source.kind == "hub":
        from quant.hub.fetch import gguf_levels, holds_ggufs

        assert source.repo is not None
        if holds_ggufs(source.repo, source.revision):
            there = gguf_levels(source.repo, source.revision)
            found = next((name for name in UNQUANTIZED if name in there), None)
            if found is None:
                return None
            level = found
    # An importance matrix would stand in the file and make another of it, with the same weights.
    asked = msgspec.structs.replace(wishes, levels=level, imatrix=None)
    return prepare([source.text], asked, progress=progress, say=say)[0]
