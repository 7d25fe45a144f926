"""Metadata of the model card and generation_config.json, as far as GGUF has keys for it.

The model card is untrusted YAML: a version that parses as a number, a language "no" that parses as false, anything.
Values of the wrong type are omitted; they must not stop a conversion.
"""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import gguf

from quant.convert.json_file import read_object

_MAX_BYTES = 4 << 20
_MAX_YAML_CHARS = 512 << 10  # the YAML reader takes some ten seconds a MiB; cards with many results have 200 KiB
_MAX_BRACKETS = 200  # opened in one line
_ANCHOR, _ALIAS = re.compile(r"&([^\s,\[\]{}]+)"), re.compile(r"\*([^\s,\[\]{}]+)")
_READ = ("README.md", "generation_config.json")
_WHOLE = {"sampling_top_k", "sampling_penalty_last_n", "sampling_mirostat"}  # int32 in GGUF
_TEXTS = {"tags", "languages"}
_TABLES = {"base_models", "datasets"}
_MAX_INT32 = (1 << 31) - 1
_MAX_FLOAT32 = 3.4e38


def load_metadata(folder: Path | None, model: str | None, n_params: int) -> gguf.Metadata:
    """Read the metadata with gguf's own rules; without a name, use the directory's.

    Args:
        folder: None if there are no files; `model` is required then.
    """
    try:
        readable = (
            folder is not None
            and all(_size(folder / name) <= _MAX_BYTES for name in _READ)
            and _is_harmless(folder / "README.md")
        )
        metadata = gguf.Metadata.load(None, folder.absolute() if folder and readable else None, model, n_params)
    except Exception:  # noqa: BLE001  on untrusted YAML gguf may fail in any way
        metadata, readable = gguf.Metadata(name=model), False
    if folder is not None and readable and metadata.sampling_penalty_repeat is None:
        # The name in transformers, which this gguf does not read but llama.cpp's converter does.
        metadata.sampling_penalty_repeat = (_generation(folder) or {}).get("repetition_penalty")
    for field in fields(metadata):
        setattr(metadata, field.name, _valid(field.name, getattr(metadata, field.name)))
    if metadata.name is None and folder is not None:
        metadata.name = folder.absolute().name
    return metadata


def _generation(folder: Path) -> dict[str, Any] | None:
    path = folder / "generation_config.json"
    return read_object(path, _MAX_BYTES) if path.is_file() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_harmless(model_card: Path) -> bool:
    """Return whether a model card's YAML can be parsed in little time and memory.

    Parsing brackets nested in one line takes quadratic time, and nested aliases ("billion laughs") grow without bound
    when they are printed.
    """
    if not model_card.is_file():
        return True
    first, *lines = model_card.read_text(encoding="utf-8").splitlines() or [""]
    if first != "---":
        return True  # no YAML
    yaml = lines[: lines.index("---")] if "---" in lines else lines
    text = "\n".join(yaml)
    return (
        len(text) <= _MAX_YAML_CHARS
        and not {*_ANCHOR.findall(text)} & {*_ALIAS.findall(text)}
        and all(line.count("[") + line.count("{") <= _MAX_BRACKETS for line in yaml)
    )


def _valid(name: str, value: Any) -> Any:
    """Return a value if it has the type of its key, else None."""
    if name in _TEXTS or (name == "license" and isinstance(value, list)):
        return [each for each in value if _is_text(each)] or None if isinstance(value, list) else None
    if name in _TABLES:
        rows = [_row(each) for each in value if isinstance(each, dict)] if isinstance(value, list) else []
        return [row for row in rows if row] or None
    if name in _WHOLE:
        return value if type(value) is int and abs(value) <= _MAX_INT32 else None
    if name.startswith("sampling_") and name != "sampling_sequence":
        return value if type(value) in (int, float) and abs(value) <= _MAX_FLOAT32 else None
    return _text(value)


def _row(entries: dict[str, Any]) -> dict[str, str]:
    return {key: text for key, value in entries.items() if (text := _text(value)) is not None}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, list | dict):
        return None
    return str(value) if _is_text(str(value)) else None


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
