"""Ways to break a results file: values in its records, its lines, its bytes."""

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

from profiler.records.environment import Environment
from tests.fuzz.mutations.odd import change_tree, changed_bytes, odd, written

TAG, ATTRIBUTE = "x-fuzz", "onfuzz"  # what must never be markup in a report
_MARKUP = (
    *(f"<{TAG} {ATTRIBUTE}=1>", f'"><{TAG} {ATTRIBUTE}=1>', f"'><{TAG} {ATTRIBUTE}=1>", f'" {ATTRIBUTE}="1'),
    *(f"</script><{TAG}>", f"</style><{TAG}>", f"]]><{TAG}>", f"--><{TAG}>", f"<!--<{TAG}>", f"&lt;{TAG}&gt;"),
    *(f"</text><{TAG}>", f"<![CDATA[<{TAG}>", "javascript:alert(1)", f"[x](javascript:1) ![x](http://{TAG}/)"),
)
_CONTROLS = (
    *("\x1b]0;t\x07", "\x1b[2J", "\x9b31m", "\x7f", "\x00", "\r", "a\nb", "\u202e\u2066", "\u2028", "\ufeff"),
    "\ud800",
)
_WORDS = (
    *("| a | b |", "`x`", "```\nx", "# x", "=cmd()", "+1", "\t=1", "%s%n{0}{x}", "{{ 7 * 7 }}", "a" * 5_000),
    *("$x$", "$", "$\\frac{1$", "\\", "a$b$c_d^e", "", " ", "/", "../../out", "-o", "--fresh", "; rm x", "'", '"'),
    *("\u7121\u6599", "\u0627\u0644", "\U0001f600", "\u0301" * 50, "nan", "inf", "None"),
)
_KNOWN = (
    "Q4_K_M",
    "F16",
    "q8_0",
    "ok",
    "failed",
    "skipped",
    "request",
    "separate",
    "gpu",
    "synthetic",
    "bench",
    "chat",
)
_HOSTILE = (*_MARKUP, *_CONTROLS, *_WORDS, *_KNOWN)
_WHOLE = (0, 1, -1, 2, 3, 512, 1 << 20, 1 << 31, 1 << 40, (1 << 53) + 1, (1 << 62), (1 << 63) - 1, -(1 << 63))
_REAL = (0.0, -0.0, 1e-300, -1.0, 0.5, 1e9, 1e300, -1e300, 1.7e308)
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # byte order marks
_ENDS = (b"\r", b" ", b"\0\0", b",", b"}")
_NO_RECORDS = (b"", b"{}", b"[]", b"null", b"7", b'{"type":"x"}', b"# x", b'"x"', b"\0")
_NO_NUMBERS = (b":NaN", b":Infinity", b":1e999", b":" + b"9" * 400)
_MISSING = object()
Path = tuple[Any, ...]


def mutated(bases: Sequence[Sequence[dict[str, Any]]], random: Random) -> bytes:
    """Return a results file of which one to three things were changed."""
    records = copy.deepcopy(list(random.choice(bases)))
    kind = random.random()
    for _ in range(random.choice((1, 1, 1, 2, 3)) if kind < 0.8 else 0):
        _change_records(records, random)
    lines = [written(record) for record in records]
    if kind > 0.7:
        lines = _changed_lines(lines, [written(record) for record in random.choice(bases)], random)
    data = b"".join(line + b"\n" for line in lines)
    if kind > 0.92:
        data = changed_bytes(data, random)
    return data


def _change_records(records: list[dict[str, Any]], random: Random) -> None:
    """Change a value in a record, and often in all that have the same: a cell's settings, a file's name."""
    kind = random.choice(sorted({str(record.get("type")) for record in records}))
    record = random.choice([each for each in records if str(each.get("type")) == kind])
    if random.random() < 0.08:
        change_tree(record, random)
        return
    path = _leaf(record, random)
    if random.random() < 0.5:  # texts go everywhere, and most values are numbers
        path = next((way for way in (_leaf(record, random) for _ in range(20)) if _is_text(record, way)), path)
    old = _get(record, path)
    new = _other(old, random)
    everywhere = random.random() < 0.7
    known = _environment_id(record) if kind == "environment" else None
    for each in records:
        if each is record or (everywhere and each.get("type") == kind and _get(each, path) == old):
            _set(each, path, new)
    if known is not None:
        _rename(records, "env_id", known, _environment_id(record))
    if path == ("sha256",):
        _rename(records, "artifact_sha256", old, new)


def _other(old: Any, random: Random) -> Any:
    """Return another value, most often of the same type: what is of another is refused at once."""
    kind = random.random()
    if kind < 0.07:
        return odd(random, old)
    if isinstance(old, str):
        hostile = random.choice(_HOSTILE)
        return hostile if kind < 0.6 else old + hostile
    if isinstance(old, bool) or old is None:
        return random.choice((None, True, False))
    if isinstance(old, int):
        return random.choice((*_WHOLE, old * 2, -old, old + 1, old * 1000))
    return random.choice((*_REAL, old * 2, -old, old * 1000)) if isinstance(old, float) else old


def _leaf(tree: Any, random: Random) -> Path:
    """Return the way to a value that is no container, or to an empty one."""
    path: Path = ()
    while isinstance(tree, dict | list) and tree:
        place = random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
        path, tree = (*path, place), tree[place]
    return path


def _is_text(record: dict[str, Any], path: Path) -> bool:
    return path != ("type",) and isinstance(_get(record, path), str)


def _get(tree: Any, path: Path) -> Any:
    for place in path:
        try:
            tree = tree[place]
        except (LookupError, TypeError):
            return _MISSING
    return tree


def _set(tree: Any, path: Path, value: Any) -> None:
    for place in path[:-1]:
        tree = tree[place]
    tree[path[-1]] = value


def _environment_id(record: dict[str, Any]) -> str | None:
    """Return the id that the program computes; None where the record is wrong."""
    try:
        return msgspec.json.decode(written(record), type=Environment).id
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _rename(records: list[dict[str, Any]], key: str, old: Any, new: Any) -> None:
    if new is None or old is None:
        return
    for each in records:
        for holder in (each, each.get("cell")):
            if isinstance(holder, dict) and holder.get(key) == old:
                holder[key] = new


def _changed_lines(lines: list[bytes], others: list[bytes], random: Random) -> list[bytes]:
    lines = list(lines)
    for _ in range(random.choice((1, 1, 2))):
        place = random.randrange(len(lines))
        if random.random() < 0.5:
            lines = _moved_lines(lines, others, place, random)
        else:
            _change_line(lines, place, random)
    return lines


def _moved_lines(lines: list[bytes], others: list[bytes], place: int, random: Random) -> list[bytes]:
    """Return lines of which some are missing, twice there, in another place or of another file."""
    changes = (
        [*lines[:place], *lines[place + 1 :]],
        [*lines[:place], lines[random.randrange(len(lines))], *lines[place:]],
        random.sample(lines, len(lines)),
        [*lines[:place], *others[random.randrange(len(others)) :]],
        [*lines, *others],
    )
    return random.choice(changes) or [b""]


def _change_line(lines: list[bytes], place: int, random: Random) -> None:
    line = lines[place]
    cut = random.randrange(len(line) + 1)
    changes = (
        (place, line[:cut]),
        (-1, lines[-1][:cut]),
        (-1, lines[-1][:cut]),
        (0, random.choice(_MARKS) + lines[0]),
        (place, line + random.choice((*_ENDS, lines[place - 1]))),
        (place, line + b"\n" + random.choice(_NO_RECORDS)),
        (place, line.replace(b'"tiny', '"\u00e9t\u00e9'.encode("latin-1"))),
        (place, line.replace(b": 0", random.choice(_NO_NUMBERS))),
    )
    place, changed = random.choice(changes)
    lines[place] = changed
