"""Old binary importance matrices with odd counts, lengths and values; quant/gguf_io/imatrix_legacy.py reads them."""

import struct
from random import Random

from tests.fuzz.mutations.odd import changed_bytes

_INTS = (-(1 << 31), -1, 0, 1, 2, 255, 256, 257, 4096, 65536, 65537, (1 << 30) + 1, (1 << 31) - 1)
_FLOATS = (0.0, -0.0, -1.0, 1e-38, 3e38, float("nan"), float("inf"), float("-inf"))
_NAMES = (b"", b"\xff", b"a\nb", b"\x1b[31m", b"x" * 256, b"x" * 257, "\u202e".encode(), b"a\0b")


def odd_legacy(sizes: dict[str, int], random: Random) -> bytes:
    """Return such a file for tensors of these row lengths, with at most a few things wrong in it."""
    share = random.choice((0.0, 0.02, 0.1, 0.3))

    def number(value: int) -> bytes:
        return struct.pack("<i", random.choice(_INTS) if random.random() < share else value)

    def text(value: bytes) -> bytes:
        value = random.choice(_NAMES) if random.random() < share else value
        return number(len(value)) + value

    names = list(sizes) + ([random.choice(list(sizes))] if random.random() < share else [])
    data = number(len(names))
    for name in names:
        values = [random.random() for _ in range(sizes[name])]
        if random.random() < share:
            values[random.randrange(len(values))] = random.choice(_FLOATS)
        if random.random() < share:
            values = [0.0] * len(values)
        data += text(name.encode()) + number(4) + number(len(values)) + struct.pack(f"<{len(values)}f", *values)
    if random.random() < 0.8:
        data += number(3)
        if random.random() < 0.8:
            data += text(b"words.txt")
    kind = random.random()
    if kind < 0.15:
        return data[: random.randrange(len(data) + 1)]
    return changed_bytes(data, random) if kind < 0.3 else data
