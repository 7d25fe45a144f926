"""Make GGUF files of what the user typed: download, synthesize, convert, quantize; nothing is done twice."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from quant.base.errors import UserError
from quant.base.files import cache_dir
from quant.base.progress import say
from quant.base.text import printable_name
from quant.convert.json_file import read_object
from quant.convert.provenance import Origin
from quant.gguf_io.artifact import Artifact, open_model
from quant.gguf_io.levels import levels_requested_by_name, parse_levels
from quant.sources.kept_levels import KeptLevels, checkpoint_identity, shape_identity
from quant.sources.resolve import Source, resolve

DEFAULT_LEVELS = "Q4_0,IQ4_NL,IQ4_XS,Q4_K_M,Q5_K_M,Q6_K,Q8_0"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A file that can be measured."""

    artifact: Artifact
    path: Path


class PrepareOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the files are made."""

    levels: str | None  # as typed; None: a GGUF file as it is, the default levels of a checkpoint
    models_dir: Path = msgspec.field(default_factory=lambda: cache_dir() / "models")
    hub_levels: str | None = None  # the levels of a repository of GGUF files when `levels` is None
    synthetic: bool = False
    imatrix: Path | None = None
    pre: str | None = None


def prepare(
    sources: Sequence[str],
    options: PrepareOptions,
) -> list[Prepared]:
    """Return the files of all sources at all levels, in the order requested; equal files once.

    Raises:
        UserError: a source is unknown or broken, a level cannot be made, the disk is full.
    """
    if options.levels is not None:
        parse_levels(options.levels)
    resolved = [resolve(text) for text in sources]  # every misspelt name is found before the first long step
    refuse_equal_names(resolved)
    maker = _Maker(options=options)
    found = [file for source in resolved for file in maker.files_of(source)]
    return list({file.artifact.sha256: file for file in found}.values())


def refuse_equal_names(sources: Sequence[Source]) -> None:
    """Refuse two checkpoints with one name: the files of the second would replace those of the first.

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
                f"{first.text} and {source.text} would make files with one name, {model_name(source, None)}; "
                "rename one of them, or measure them one after the other, each with its own -o"
            )


def _place_of(source: Source) -> tuple[object, ...]:
    place = source.path and (source.path if source.path.is_dir() else source.path.parent).resolve()
    return source.repo, source.revision, place


class _Maker(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the files of a source."""

    options: PrepareOptions

    def files_of(self, source: Source) -> list[Prepared]:
        if source.kind == "gguf":
            assert source.path is not None
            return self._from_gguf(source.path)
        if self.options.synthetic:
            return self._from_shape(source)
        if source.kind == "hub":
            from quant.hub.fetch import holds_ggufs

            assert source.repo is not None
            if holds_ggufs(source.repo, source.revision):
                return self._from_hub_ggufs(source.repo, source.revision)
        if source.spec is not None:
            source.spec.require_supported()
        folder, commit = checkpoint_of(source)
        return self._from_checkpoint(folder, source, commit)

    def _prepared(self, path: Path, model: str | None = None) -> Prepared:
        """Return a file; what was made of a source has the source's name rather than the file's."""
        from quant.gguf_io.artifact import describe

        artifact = describe(path)
        return Prepared(artifact=msgspec.structs.replace(artifact, model=model) if model else artifact, path=path)

    def _from_gguf(self, path: Path) -> list[Prepared]:
        if self.options.levels is None:
            return [self._prepared(path)]
        from quant.quantize.levels_of_gguf import choose_levels, quantize

        imatrix = self.options.imatrix
        chosen = choose_levels(path, self.options.levels, imatrix=imatrix)
        made = quantize(path, chosen, self.options.models_dir, imatrix=imatrix)
        return [Prepared(artifact=each.artifact, path=each.path) for each in made]

    def _from_hub_ggufs(self, repo: str, revision: str | None) -> list[Prepared]:
        from quant.hub.fetch import gguf_levels, pull_ggufs

        say(f"{repo} holds GGUF files; taking those")
        levels = None
        if text := self.options.levels or self.options.hub_levels:
            # Of a group's levels only those that the repository holds.
            by_name, there = levels_requested_by_name(text), gguf_levels(repo, revision)
            levels = [level for level in parse_levels(text) if level in by_name or level in there]
        found = pull_ggufs(repo, levels, revision)
        files = [self._prepared(paths[0]) for paths in found.values()]
        return [
            msgspec.structs.replace(file, artifact=msgspec.structs.replace(file.artifact, source=repo))
            for file in files
        ]

    def _from_checkpoint(self, folder: Path, source: Source, commit: str | None) -> list[Prepared]:
        """Make all levels from the checkpoint itself; files made before from the same checkpoint are used again."""
        from quant.convert.provenance import inputs_of, token_warnings, write_notes
        from quant.quantize.from_checkpoint import checkpoint_writer

        options, name = self.options, model_name(source, folder)
        origin = Origin(model=name, source=source.repo if commit else None, revision=commit)
        identity = checkpoint_identity(folder, options.pre, options.imatrix, origin)
        kept = KeptLevels(options.models_dir, identity, options.imatrix)
        paths, written = kept.files_at(
            options.levels or DEFAULT_LEVELS,
            lambda: checkpoint_writer(folder, pre=options.pre, origin=origin),
            f"of {name}",
        )
        if written:
            if lost := written[0].n_overflowed:
                say(f"{lost} values of {name} are beyond F16 and became infinite; use BF16 instead")
            tokens = written[0].tokens
            for warning in token_warnings(tokens):
                say(f"{name}: {warning}")
            write_notes([each.path for each in written], origin, inputs_of(folder, options.imatrix), tokens)
            kept.keep(written)
        return [self._prepared(path, name) for path in paths]

    def _from_shape(self, source: Source) -> list[Prepared]:
        """Make files with synthetic weights; files made before in the same shape are used again."""
        from quant.synthetic.gguf import shape_writer

        options, config, name = self.options, shape_config(source), model_name(source, None)
        identity = shape_identity(config, name, options.imatrix)
        kept = KeptLevels(options.models_dir, identity, options.imatrix)
        stand_in = f", as {config['model_type']} in its place" if "slmprof_standin_family" in config else ""
        paths, written = kept.files_at(
            options.levels or DEFAULT_LEVELS,
            lambda: shape_writer(config, standin_for=name, hashed=True),
            f"with synthetic weights in the shape of {name}{stand_in}",
        )
        kept.keep(written)
        return [self._prepared(path, name) for path in paths]


def checkpoint_of(
    source: Source,
    *,
    any_family: bool = False,
) -> tuple[Path, str | None]:
    """Return a source's checkpoint directory, and the commit if it came from a hub.

    Args:
        any_family: download it even if it cannot be converted here, for another converter.

    Raises:
        UserError: the source has none, or it cannot be downloaded.
    """
    if source.kind in ("directory", "config"):
        assert source.path is not None
        return (source.path if source.path.is_dir() else source.path.parent), None
    if source.kind == "gguf":
        assert source.path is not None
        open_model(source.path)  # what is no language model is refused in the same words everywhere
        raise UserError(f"{source.text} is a GGUF file already; slmprof quantize makes other levels of it")
    if source.repo is None:
        raise UserError(f"{source.text} is no checkpoint; pass a directory with config.json and weights")
    from quant.hub.fetch import pull

    pulled = pull(source.repo, source.revision, any_family=any_family)
    return pulled.path, pulled.commit


def shape_config(source: Source) -> dict[str, object]:
    """Return the config.json of a source without its weights: from the registry, a file, or a hub.

    For a model of the registry that llama.cpp cannot run, it is the stand-in's, marked with slmprof_standin_family.

    Raises:
        UserError: the source has none, or the model has no stand-in.
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
    """Return the name in files and charts: the registry's, the last part of the repository's, or the folder's."""
    if source.spec is not None:
        name = source.spec.name
    elif source.repo is not None:
        name = source.repo.rpartition("/")[2]
    else:
        place = source.path if source.path is not None else folder
        assert place is not None
        place = place.resolve()
        name = printable_name(place.name if place.is_dir() else place.parent.name)
    return re.sub(r"[^\w.-]+", "_", name)[:80] or "model"
