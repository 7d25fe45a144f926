"""What a model card and its neighbours say of a model, as far as GGUF can hold it.

The card is a stranger's YAML: a version that reads as a number, a language "no" that reads as false, anything at all.
Whatever is of another kind than its key is left out; it may not stop a conversion.
"""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import gguf

_MAX_BYTES = 4 << 20
_MAX_YAML_LETTERS = 512 << 10  # the YAML reader takes some ten seconds a MiB; cards full of results have 200 KiB
_MAX_BRACKETS = 200  # that open in one line
_ANCHOR, _ALIAS = re.compile(r"&([^\s,\[\]{}]+)"), re.compile(r"\*([^\s,\[\]{}]+)")
_READ = ("README.md", "generation_config.json")
_WHOLE = {"sampling_top_k", "sampling_penalty_last_n", "sampling_mirostat"}  # int32 in GGUF
_TEXTS = {"tags", "languages"}
_TABLES = {"base_models", "datasets"}
_MAX_INT32 = (1 << 31) - 1
_MAX_FLOAT32 = 3.4e38


def load_metadata(folder: Path | None, model: str | None, n_params: int) -> gguf.Metadata:
    """Read the card and the names with gguf's own rules; without a name, the directory's is taken.

    Args:
        folder: None where there are no files, but then a name.
    """
    try:
        readable = (
            folder is not None
            and all(_size(folder / name) <= _MAX_BYTES for name in _READ)
            and _is_harmless(folder / "README.md")
        )
        metadata = gguf.Metadata.load(None, folder.absolute() if folder and readable else None, model, n_params)
    except Exception:  # noqa: BLE001  gguf's rules meet a stranger's YAML, and may fail in any way
        metadata = gguf.Metadata(name=model)
    for field in fields(metadata):
        setattr(metadata, field.name, _sound(field.name, getattr(metadata, field.name)))
    if metadata.name is None and folder is not None:
        metadata.name = folder.absolute().name
    return metadata


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_harmless(card: Path) -> bool:
    """Tell whether a card's YAML is read in little time and memory.

    Brackets nested in one line take the YAML reader the square of their number, and what is named and named again
    ("billion laughs") grows without bound when it is shown.
    """
    if not card.is_file():
        return True
    first, *lines = card.read_text(encoding="utf-8").splitlines() or [""]
    if first != "---":
        return True  # no YAML
    yaml = lines[: lines.index("---")] if "---" in lines else lines
    text = "\n".join(yaml)
    return (
        len(text) <= _MAX_YAML_LETTERS
        and not {*_ANCHOR.findall(text)} & {*_ALIAS.findall(text)}
        and all(line.count("[") + line.count("{") <= _MAX_BRACKETS for line in yaml)
    )


def _sound(name: str, value: Any) -> Any:
    """Give a value of the kind that its key has, or None."""
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
