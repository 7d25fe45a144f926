"""From what the user typed to GGUF files on disk: fetch, make up, convert, quantize; nothing is done twice."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from quant.base.errors import UserError
from quant.base.progress import Progress, silent
from quant.convert.checkpoint import read_object
from quant.convert.origin import Origin
from quant.gguf_io.artifact import Artifact
from quant.gguf_io.levels import levels_asked_by_name, parse_levels
from quant.sources.kept_levels import KeptLevels, checkpoint_identity, shape_identity
from quant.sources.resolve import Source, resolve

DEFAULT_LEVELS = "Q4_0,Q4_K_M,Q5_K_M,Q6_K,Q8_0"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A file that can be measured."""

    artifact: Artifact
    path: Path


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """How the files are to be made."""

    levels: str | None  # as typed; None: a GGUF file as it is, the default levels of a checkpoint
    models_dir: Path
    hub_levels: str | None = None  # what to take from a repository of GGUF files where `levels` is None
    synthetic: bool = False
    imatrix: Path | None = None
    pre: str | None = None


def prepare(
    sources: Sequence[str],
    wishes: Wishes,
    *,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> list[Prepared]:
    """Give the files of all sources at all levels, in the order asked; equal files once.

    Raises:
        UserError: a source is unknown or broken, a level cannot be made, the disk is full.
    """
    if wishes.levels is not None:
        parse_levels(wishes.levels)
    resolved = [resolve(text) for text in sources]  # every misspelt name is found before the first long step
    _refuse_equal_names(resolved)
    found = [file for source in resolved for file in _prepare_one(source, wishes, progress, say)]
    return list({file.artifact.sha256: file for file in found}.values())


def _refuse_equal_names(sources: Sequence[Source]) -> None:
    """Refuse two checkpoints of one name: the files of the second would take the place of the first's.

    Raises:
        UserError: there are two.
    """
    seen: dict[str, Source] = {}
    for source in sources:
        if source.kind == "gguf":
            continue
        first = seen.setdefault(model_name(source, None), source)
        if _place_of(first) != _place_of(source):
            raise UserError(
                f"{first.text} and {source.text} would make files of one name, {model_name(source, None)}; "
                "rename one of them, or measure them one after the other, each with an -o of its own"
            )


def _place_of(source: Source) -> tuple[object, ...]:
    place = source.path and (source.path if source.path.is_dir() else source.path.parent).resolve()
    return source.repo, source.revision, place


def _prepare_one(source: Source, wishes: Wishes, progress: Progress, say: Callable[[str], None]) -> list[Prepared]:
    if source.kind == "gguf":
        assert source.path is not None
        return _from_gguf(source.path, wishes.levels, wishes, progress)
    if wishes.synthetic:
        return _from_shape(source, wishes, progress, say)
    if source.kind == "hub":
        from quant.hub.fetch import holds_ggufs, pull_ggufs

        assert source.repo is not None
        if holds_ggufs(source.repo, source.revision):
            say(f"{source.repo} holds GGUF files; taking those")
            asked = wishes.levels or wishes.hub_levels
            levels = _levels_there(source, asked) if asked else None
            found = pull_ggufs(source.repo, levels, source.revision, progress=progress, say=say)
            return [
                Prepared(
                    artifact=msgspec.structs.replace(_described(paths[0], progress), source=source.repo), path=paths[0]
                )
                for paths in found.values()
            ]
    if source.spec is not None:
        source.spec.require_supported()
    folder, commit = checkpoint_of(source, progress, say)
    return _from_checkpoint(folder, source, commit, wishes, progress, say)


def _levels_there(source: Source, text: str) -> list[str]:
    """Read -q for a repository of GGUF files: what a group's name brings in counts only where there is a file."""
    from quant.hub.fetch import gguf_levels

    assert source.repo is not None
    by_name, there = levels_asked_by_name(text), gguf_levels(source.repo, source.revision)
    return [level for level in parse_levels(text) if level in by_name or level in there]


def checkpoint_of(
    source: Source,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
    *,
    any_family: bool = False,
) -> tuple[Path, str | None]:
    """Give a source's checkpoint directory, and the commit where it came from a hub.

    With `any_family` it is fetched although it cannot be converted here: another converter takes it.

    Raises:
        UserError: the source has none, or it cannot be fetched.
    """
    if source.kind in ("directory", "config"):
        assert source.path is not None
        return (source.path if source.path.is_dir() else source.path.parent), None
    if source.repo is None:
        raise UserError(f"{source.text} is no checkpoint; give a directory with config.json and safetensors")
    from quant.hub.fetch import pull

    if any_family:
        pulled = pull(source.repo, source.revision, progress=progress, say=say, accept=lambda config: None)
    else:
        pulled = pull(source.repo, source.revision, progress=progress, say=say)
    return pulled.path, pulled.commit


def _described(path: Path, progress: Progress) -> Artifact:
    from quant.gguf_io.artifact import describe

    return describe(path, progress=progress)


def _from_gguf(path: Path, levels: str | None, wishes: Wishes, progress: Progress) -> list[Prepared]:
    if levels is None:
        return [Prepared(artifact=_described(path, progress), path=path)]
    from quant.quantize.levels_of_gguf import choose_levels, quantize

    chosen = choose_levels(path, levels, imatrix=wishes.imatrix)
    made = quantize(path, chosen, wishes.models_dir, imatrix=wishes.imatrix, progress=progress)
    return [Prepared(artifact=each.artifact, path=each.path) for each in made]


def _from_checkpoint(
    folder: Path,
    source: Source,
    commit: str | None,
    wishes: Wishes,
    progress: Progress,
    say: Callable[[str], None],
) -> list[Prepared]:
    """Quantize straight to the levels; files that were made of this very checkpoint are kept."""
    from quant.convert.provenance import inputs_of, write_notes
    from quant.quantize.from_checkpoint import checkpoint_writer

    name = model_name(source, folder)
    origin = Origin(model=name, source=source.repo if commit else None, revision=commit)
    identity = checkpoint_identity(folder, wishes.pre, wishes.imatrix, origin)
    kept = KeptLevels(wishes.models_dir, identity, wishes.imatrix, progress)
    paths, written = kept.files_at(
        wishes.levels or DEFAULT_LEVELS,
        lambda: checkpoint_writer(folder, pre=wishes.pre, origin=origin),
        lambda missing: say(f"making {', '.join(missing)} of {name}"),
    )
    if written:
        if lost := written[0].n_overflowed:
            say(f"{lost} values of {name} are beyond F16 and became infinite; take BF16 instead")
        write_notes([each.path for each in written], origin, inputs_of(folder, wishes.imatrix, progress))
        kept.keep(written)
    return [Prepared(artifact=_described(path, progress), path=path) for path in paths]


def _from_shape(source: Source, wishes: Wishes, progress: Progress, say: Callable[[str], None]) -> list[Prepared]:
    """Write files with synthetic weights; files of this very shape are kept."""
    from quant.synthetic.gguf import shape_writer

    config, name = shape_config(source, progress), model_name(source, None)
    kept = KeptLevels(wishes.models_dir, shape_identity(config, name, wishes.imatrix), wishes.imatrix, progress)
    as_family = f", as {config['model_type']} in its place" if "slmprof_standin_family" in config else ""
    paths, written = kept.files_at(
        wishes.levels or DEFAULT_LEVELS,
        lambda: shape_writer(config, standin_for=name, hashed=True),
        lambda missing: say(f"making {', '.join(missing)} with synthetic weights in the shape of {name}{as_family}"),
    )
    kept.keep(written)
    return [Prepared(artifact=_described(path, progress), path=path) for path in paths]


def shape_config(source: Source, progress: Progress = silent) -> dict[str, object]:
    """Give the config.json of a source without its weights: from the registry, a file, or a hub.

    A model of the registry that llama.cpp cannot run gives its stand-in's, marked with slmprof_standin_family.

    Raises:
        UserError: the source has none, or nothing stands in for it.
    """
    if source.spec is not None and source.spec.config:
        return source.spec.shape()
    if source.path is not None:
        path = source.path / "config.json" if source.path.is_dir() else source.path
        return read_object(path)
    from quant.hub.fetch import pull_config

    assert source.repo is not None
    return pull_config(source.repo, source.revision)


def model_name(source: Source, folder: Path | None) -> str:
    """Give the name that files and charts carry: the registry's, the repository's last part, or the folder's."""
    if source.spec is not None:
        name = source.spec.name
    elif source.repo is not None:
        name = source.repo.rpartition("/")[2]
    else:
        place = source.path if source.path is not None else folder
        assert place is not None
        place = place.resolve()
        name = place.name if place.is_dir() else place.parent.name
    return re.sub(r"[^\w.-]+", "_", name)[:80] or "model"
