"""Where a cell's model file is, and the folder of files that run it."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from profiler.deploy.make import deploy_files
from profiler.records.cell_summary import CellSummary
from quant.base.files import write_text
from quant.gguf_io.artifact import Artifact


def find_model(artifact: Artifact, folders: Iterable[Path]) -> Path | None:
    """Return the file of an artifact's name in one of the folders, or in its models/; None where there is none.

    Records hold no paths, and a name with a folder in it is none of ours.
    """
    if Path(artifact.file_name).name != artifact.file_name or not artifact.file_name.isprintable():
        return None
    places = (place / artifact.file_name for folder in folders for place in (folder, folder / "models"))
    with suppress(OSError):  # an untrusted name can be longer than names are
        return next((place for place in places if place.is_file()), None)
    return None


def relative_path(model: Path | None, folder: Path) -> str | None:
    """Return the path of a model's file as it is written in a folder."""
    return None if model is None else os.path.relpath(model.resolve(), folder.resolve())


def write_deploy(cell: CellSummary, folder: Path, *, model: Path | None = None, n_ctx: int | None = None) -> list[Path]:
    """Write the files that run a cell into a folder, and return their paths: none where deploy_of() is None.

    Args:
        model: the model's file; None: it is to be put into the folder.
        n_ctx: the context to run with; None: the measured one.

    Raises:
        UserError: the folder cannot be written.
    """
    texts = deploy_files(cell, model_path=relative_path(model, folder), n_ctx=n_ctx)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
