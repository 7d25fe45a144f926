"""What is odd in any kind of file: values, bytes, one change somewhere in a tree."""

import copy
import json
from random import Random
from typing import Any

Files = dict[str, bytes | None]  # a name without bytes stands for a folder of that name

_DEEP, _LONG_NUMBER = "@@deep@@", "@@long number@@"  # JSON that Python's own writer cannot write
_RAW = {
    _DEEP: "[" * 100_000 + "]" * 100_000,
    _LONG_NUMBER: "9" * 5_000,
}
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 255, 4096, 1 << 24, (1 << 24) - 1, (1 << 31) - 1, 1 << 31, 1 << 32),
    *((1 << 40) - 1, (1 << 63) - 1, 1 << 63, 1 << 64, 10**30, -(10**30), 10**400, -(1 << 31), -(1 << 63)),
    *(0.0, -0.0, 0.5, 1.5, -1.5, 1e-320, 1e38, 3.5e38, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x", "7", "-7", "1e5", "\u00b2", "true", "null", "\0", "a\nb", "\x1b[31m\r\n", "\u2028", "\u202e", "\ud800"),
    *("\udc00\ud800", "../../out", "/etc/hostname", "..", ".", "a" * 5_000, "\u2581", "{{ 7 * 7 }}", "\U0010ffff"),
    *([], [[]], {}, [{}], {"": None}, {"a": {"b": []}}, [None], [1, 2], [0.5], ["x"], [["a", "b"]], [True, "x", 1]),
    *({"content": "x"}, {"content": "\ud800", "special": True}, {"type": "BPE"}, {"rope_type": "llama3"}),
    *({"rope_type": "yarn", "factor": 2}, {"rope_type": "linear", "factor": None}, {"__type": "AddedToken"}),
    *({"rope_type": "longrope", "short_factor": [1], "long_factor": [1]}, {"hidden_size": "x"}, _DEEP, _LONG_NUMBER),
)
NUMBERS = tuple(value for value in ODD if isinstance(value, int | float) and not isinstance(value, bool))
_INSERTED = (b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\\ud800", b"NaN", b"[" * 50_000)


def changed_bytes(data: bytes, random: Random) -> bytes:
    """Flip, cut, double or put in bytes, most often near the start."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        place = random.randrange(min(len(changed), random.choice((16, 256, 1 << 30))) + 1)
        kind = random.randrange(8)
        if kind < 3 and place < len(changed):
            changed[place] ^= 1 << random.randrange(8)
        elif kind == 3:
            del changed[place:]
        elif kind == 4:
            del changed[place : place + random.randrange(1, 64)]
        elif kind == 5:
            changed[place:place] = changed[place : place + random.randrange(1, 64)]
        elif kind == 6:
            changed[place:place] = random.randbytes(random.randrange(1, 16))
        else:
            changed[place:place] = random.choice(_INSERTED)
    return bytes(changed)


def change_tree(tree: Any, random: Random) -> None:
    """Change one thing somewhere in a tree: a value, a key, or what is there at all."""
    while True:
        if not isinstance(tree, dict | list) or not tree:
            return
        place = random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
        if isinstance(tree[place], dict | list) and tree[place] and random.random() < 0.7:
            tree = tree[place]
            continue
        kind = random.random()
        if kind < 0.15:
            del tree[place]
        elif kind < 0.25 and isinstance(tree, dict):
            tree[str(odd(random))[:6_000]] = tree.pop(place)
        elif kind < 0.35:
            other = random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
            tree[place] = copy.deepcopy(tree[other])
        elif kind < 0.4 and isinstance(tree, list):
            tree.append(copy.deepcopy(tree[place]))
        else:
            tree[place] = odd(random, tree[place])
        return


def odd(random: Random, instead_of: Any = None) -> Any:
    """Return an odd value; for a number often another number, which is refused later than anything else."""
    if isinstance(instead_of, int | float) and random.random() < 0.5:
        return random.choice((*NUMBERS, instead_of - 1, instead_of + 1, instead_of * 2, -instead_of))
    return copy.deepcopy(random.choice(ODD))


def written(tree: Any) -> bytes:
    """Write a tree as JSON, with what Python cannot write put in."""
    text = json.dumps(tree)
    for mark, raw in _RAW.items():
        text = text.replace(json.dumps(mark), raw)
    return text.encode()
