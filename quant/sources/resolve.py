"""Resolve what the user typed to a model, a repository, a folder or a file."""

import re
from pathlib import Path

import msgspec

from quant.base.errors import UserError
from quant.base.text import one_line
from quant.convert.weight_files import holds_weights, what_else
from quant.gguf_io.header import MAGIC
from quant.gguf_io.shards import is_gguf_name
from quant.sources.registry import ModelSpec, lookup, suggestion, unsupported_repo

# The hub's own rules for names; URLs copied from a browser are accepted too.
_HUB_ID = re.compile(
    r"(?:https://(?:huggingface\.co|hf\.co)/)?"
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95})"
    r"(?:@(?P<revision>[\w][\w./-]{0,119}))?",
    re.ASCII,
)
_PATH_ENDS = (".gguf", ".GGUF", ".json", ".safetensors", "/")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of: a registry entry, a hub repository, a checkpoint directory, a config.json, a GGUF file."""

    kind: str  # "registry" | "hub" | "directory" | "config" | "gguf"
    text: str
    spec: ModelSpec | None = None
    repo: str | None = None
    revision: str | None = None
    path: Path | None = None


def resolve(text: str) -> Source:
    """Return what a source is. What exists on disk wins; "./x" is always a path.

    Raises:
        UserError: it is none of these; a misspelt name gets a suggestion.
    """
    if not text.strip():
        raise UserError("the source is empty; pass a model's name, a hub id, a directory or a file")
    path = _path(text)
    if path is not None:
        try:
            return _local(text, path)
        except OSError as error:
            raise UserError(f"cannot read {text}: {error.strerror}; check its permissions") from error
    if text.startswith((".", "/", "~")) or text.endswith(_PATH_ENDS):
        raise UserError(f"there is no file or directory {text}; check the path")
    if spec := lookup(text):
        return Source(kind="registry", text=text, spec=spec, repo=spec.repo, revision=spec.revision)
    if found := hub_id(text):
        # llama.cpp cannot run it whatever files the hub has, so the registry's stand-in is used.
        repo, revision = found
        return Source(kind="hub", text=text, spec=unsupported_repo(repo), repo=repo, revision=revision)
    shown = text if len(text) <= 100 else text[:99] + "…"
    raise UserError(
        f"'{shown}' is no known model, no file and no hub id like org/name; {suggestion(text)}see slmprof models"
    )


def hub_id(text: str) -> tuple[str, str | None] | None:
    """Return the repository and the revision that a hub id or its URL names; None if the text is neither."""
    match = _HUB_ID.fullmatch(text)
    return (match["repo"], match["revision"]) if match and ".." not in text else None


def adapter_folder(text: str) -> Path:
    """Return the folder of an adapter: one on disk, or that of a hub's repository, which is downloaded.

    Raises:
        UserError: it is neither, or cannot be downloaded.
    """
    path = _path(text)
    if path is not None:
        return path
    found = None if text.startswith((".", "/", "~")) or text.endswith(_PATH_ENDS) else hub_id(text)
    if found is None:
        raise UserError(
            f"there is no directory {one_line(text, 100)}; pass an adapter's folder, or a hub id like org/name"
        )
    from quant.hub.fetch import pull_adapter

    return pull_adapter(*found).path


def _path(text: str) -> Path | None:
    """Return the path of an existing file or folder, else None.

    Raises:
        UserError: a folder on the way to it may not be read.
    """
    try:
        path = Path(text).expanduser()
        path.stat()
        return path
    except PermissionError as error:
        raise UserError(f"cannot read {text}: {error.strerror}; check its permissions") from error
    except (OSError, RuntimeError, ValueError):  # none there, too long, no such user, a NUL
        return None


def _holds_gguf(path: Path) -> bool:
    """Return whether a file of any name is GGUF, such as a blob of Ollama's; pipes are not opened."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _local(text: str, path: Path) -> Source:
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{text} has no config.json, so it is no checkpoint; {what_else(path)}")
        return Source(kind="directory", text=text, path=path)
    if is_gguf_name(path.name) or _holds_gguf(path):
        return Source(kind="gguf", text=text, path=path)
    if path.suffix == ".json":
        return Source(kind="config", text=text, path=path)
    hint = "pass the directory it is in" if holds_weights(path) else "pass one of those"
    raise UserError(f"{text} is neither a checkpoint's directory nor a config.json nor a .gguf file; {hint}")
