"""A GGUF file's name, and those of the shards that it may be one of: NAME-00001-of-00003.gguf."""

import re
from pathlib import Path

from quant.base.errors import UserError

_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.gguf)", re.IGNORECASE)
_END = ".gguf"


def is_gguf_name(name: str) -> bool:
    """Return whether a file's name ends in .gguf, in upper or lower case."""
    return name.lower().endswith(_END)


def shard_paths(path: Path) -> tuple[Path, ...]:
    """Return all shards of a file named `…-00001-of-00003.gguf`, or the one file.

    Raises:
        UserError: it is not the first shard, as llama.cpp needs, or a shard is missing.
    """
    match = _SHARD.fullmatch(path.name)
    if not match:
        return (path,)
    count = int(match["count"])

    def name_of(number: int) -> str:
        return f"{match['stem']}-{number:05d}-of-{match['count']}{match['end']}"

    if int(match["number"]) != 1 or count < 1:
        raise not_first(path, name_of(1))
    # One listing instead of a look-up per shard: the count in a name is untrusted.
    present = {entry.name for entry in path.parent.iterdir()} if path.parent.is_dir() else set()
    shards = []
    for number in range(1, count + 1):
        if name_of(number) not in present:
            raise UserError(f"{path.parent / name_of(number)} is missing; all {count} shards must be in one folder")
        shards.append(path.with_name(name_of(number)))
    return tuple(shards)


def not_first(path: Path, first: str) -> UserError:
    """Return the error for a shard that is not the first."""
    return UserError(f"{path} is not the first of its shards; pass {first}")


def stem_of(path: Path) -> str:
    """Return a file's name without ".gguf" and without a shard's number."""
    if match := _SHARD.fullmatch(path.name):
        return match["stem"]
    return path.name[: -len(_END)] if is_gguf_name(path.name) else path.name
