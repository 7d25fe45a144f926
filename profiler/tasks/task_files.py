"""Task files of --include: read without running anything, and checked before the harness sees them."""

from pathlib import Path
from typing import Any

import yaml

from quant.base.errors import UserError

_MOST_BYTES = 4 << 20
# Keys by which lm_eval runs code that is not in the file.
_CODE_KEYS = ("class", "hf_evaluate", "use_prompt")


def check_folder(folder: Path) -> None:
    """Refuse a folder whose task files run code, or read what is outside it.

    Raises:
        UserError: it has no task files, or one of them is refused.
    """
    paths = sorted(folder.rglob("*.yaml"))
    if not folder.is_dir() or not paths:
        raise UserError(f"--include {folder} holds no task files; name a folder with .yaml files")
    for path in paths:
        _check(path, folder.resolve())


def _check(path: Path, folder: Path) -> None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} is larger than 4 MiB; a task file is a page of text")
        text = path.read_text(encoding="utf-8")
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
        tags = [str(event.tag) for event in events if getattr(event, "tag", None)]
        # Nested, a few of them stand for billions of values.
        if any(isinstance(event, yaml.AliasEvent) for event in events):
            raise UserError(f"{path} has YAML aliases, which task files of --include must not; write the values out")
        content = None if tags else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path} is no task file ({' '.join(str(error).split())[:120]}); fix or remove it") from error
    if tags:
        raise _runs_code(path, tags[0])
    for key, value in _pairs(content):
        if key in _CODE_KEYS and value:
            raise _runs_code(path, key)
        if key in ("include", "data_files", "data_dir"):
            for name in _texts(value):
                _require_inside(path, key, name, folder)
        if key == "dataset_path" and str(value).startswith(("/", "~", ".")):
            _require_inside(path, key, str(value), folder)


def _require_inside(path: Path, key: str, name: str, folder: Path) -> None:
    if "://" in name or name.startswith("~") or not (path.parent / name).resolve().is_relative_to(folder):
        raise UserError(f"{path}: {key} is {name}, outside {folder.name}; copy it there, or use --trust-include")


def _runs_code(path: Path, what: str) -> UserError:
    return UserError(f"{path} has {what}, which runs Python when the task is loaded; read it, then use --trust-include")


def _pairs(value: Any) -> list[tuple[str, Any]]:
    """Return every key of nested mappings with its value."""
    if isinstance(value, dict):
        inner = [pair for each in value.values() for pair in _pairs(each)]
        return [*((str(key), each) for key, each in value.items()), *inner]
    if isinstance(value, list):
        return [pair for each in value for pair in _pairs(each)]
    return []


def _texts(value: Any) -> list[str]:
    """Return the texts in nested lists and mappings."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]


def with_absolute_data(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a task's configuration with the paths of its data files, which are relative to its own, made absolute."""
    options = dict(config.get("dataset_kwargs") or {})
    for key in ("data_files", "data_dir"):
        if key in options:
            options[key] = _absolute(options[key], folder)
    return {**config, "dataset_kwargs": options} if options else config


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return value if "://" in value else str(folder / value)
    if isinstance(value, dict):
        return {key: _absolute(each, folder) for key, each in value.items()}
    return [_absolute(each, folder) for each in value] if isinstance(value, list) else value
