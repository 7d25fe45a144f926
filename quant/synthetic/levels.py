"""Files with made-up weights in a source's shape: straight to its levels, kept files as they are."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from quant.base.progress import Progress
from quant.gguf_io.levels import file_name, levels_asked_by_name, parse_levels

if TYPE_CHECKING:
    from quant.quantize.from_checkpoint import Written

_MAKER = 1  # raised when other bytes are made, so that kept files are made anew


def synthetic_files(
    config: dict[str, object],
    levels: str,
    folder: Path,
    *,
    name: str,
    imatrix: Path | None,
    kept: Callable[[list[str], str], dict[str, Path]],
    keep: Callable[["Written", str], None],
    progress: Progress,
    say: Callable[[str], None],
) -> list[Path]:
    """Give the file of each level, in their order; what is kept of this very shape is not made again.

    Args:
        levels: as typed.
        kept: gives the files by level that have this identity.
        keep: notes the identity of a file that was made.

    Raises:
        UserError: the config is wrong, a level cannot be made, or the disk is full.
    """
    from quant.synthetic.gguf import shape_writer

    identity = identity_of(config, name, imatrix)
    wanted = parse_levels(levels)
    paths = kept(wanted, identity)
    if levels_asked_by_name(levels) != set(wanted) or len(paths) != len(wanted):
        with shape_writer(config, standin_for=name, hashed=True) as writer:
            wanted = writer.levels(levels, imatrix=imatrix)
            if missing := [level for level in wanted if level not in paths]:
                as_family = f", as {config['model_type']} in its place" if "slmprof_standin_family" in config else ""
                say(f"making {', '.join(missing)} with synthetic weights in the shape of {name}{as_family}")
                made = writer.write(
                    missing, lambda level: folder / file_name(writer.stem, level), imatrix=imatrix, progress=progress
                )
                for written in made:
                    keep(written, identity)
                    paths[written.level] = written.path
    return [paths[level] for level in wanted]


def identity_of(config: dict[str, object], name: str, imatrix: Path | None) -> str:
    """Hash what the files depend on."""
    from quant.base.hashes import cached_sha256
    from quant.base.llama_package import llama_build

    wishes = (_MAKER, llama_build(), config, name, cached_sha256([imatrix]) if imatrix else None)
    return hashlib.sha256(msgspec.json.encode(wishes, order="sorted")).hexdigest()
