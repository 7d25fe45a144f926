"""Untrusted text made safe for one line: names and messages may come from any file."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

M = TypeVar("M")

_FOLDERS = re.compile(r"(?:[A-Za-z]:)?[/\\](?:[^\s:/\\]+[/\\])+")
_MESSAGE_CHARS = 400


def printable(text: str, replacement: str = " ") -> str:
    """Replace each character that cannot be printed: line ends, terminal controls, surrogates."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else replacement for character in text)


def one_line(text: str, max_chars: int) -> str:
    """Return one line of printable characters, each run of white space one space, cut to `max_chars`."""
    # Cut first, with room for white space: untrusted text can be of any length.
    return " ".join(printable(text[: 5 * max_chars]).split())[:max_chars].rstrip()


def message_line(text: str, *folders: Path) -> str:
    """Return a message as one line without folders: records hold no paths.

    Args:
        folders: those whose names may hold spaces, and so are looked for as they are written. The home is one.
    """
    for folder in (*folders, Path(os.path.expanduser("~"))):  # noqa: PTH111  returns "~" where there is no home
        if len(folder.parts) > 1:
            text = text.replace(f"{folder}{os.sep}", "")
    return one_line(_FOLDERS.sub("", text), _MESSAGE_CHARS)


def encoded(message: object) -> bytes:
    """Return a message in JSON. Bytes of file names that are no UTF-8, Python's surrogates, are escaped."""
    import msgspec  # this module is loaded for --help, which needs no JSON

    try:
        return msgspec.json.encode(message)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(message)).encode()


def decoded(line: bytes, kind: type[M]) -> M:
    """Return a message as `encoded` wrote it.

    Raises:
        msgspec.DecodeError: it is none of this kind.
    """
    import msgspec

    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if b"\\ud" not in line:
            raise
    try:
        return msgspec.convert(json.loads(line), kind)
    except json.JSONDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


def printable_name(path: Path | str) -> str:
    """Return a file's name as text that can be stored: bytes that are no UTF-8 become escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def pretty_json(value: object) -> str:
    """Return a value as JSON for people: indented, a line per field; what controls a terminal is escaped."""
    import msgspec  # this module is loaded for --help, which needs no JSON

    text = msgspec.json.format(msgspec.json.encode(value), indent=1).decode()
    if text.replace("\n", "").isprintable():
        return text
    # What cannot be printed is in strings alone.
    return "".join(each if each == "\n" or each.isprintable() else json.dumps(each)[1:-1] for each in text)


def number_range(values: Sequence[int]) -> str:
    """Return where numbers lie: "6", or "3 to 6"."""
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def counted_range(values: Sequence[int], noun: str) -> str:
    """Return where numbers lie with their noun: "1 round", "3 to 6 rounds"."""
    return f"{number_range(values)} {noun}{'' if max(values) == 1 else 's'}"


def counted(number: float, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one: "1 thread", "1.5 CPUs"."""
    shown = str(number) if isinstance(number, int) else f"{number:g}"
    return f"{shown} {noun}{'' if number == 1 else 's'}"
