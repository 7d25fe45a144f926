"""Ways to break a GGUF file: its header taken apart, changed with knowledge of what it holds, and put together again.

Nothing is checked while it is put together: counts, lengths and offsets may be any. Source of the layout: docs/gguf.md
of ggml.
"""

import copy
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from quant.gguf_io.types import GGML_TYPES
from tests.fuzz.mutations.odd import changed_bytes

_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_COUNTS = (0, 1, 2, 3, 31, 32, 33, 511, 512, 513, 4096, 65535, 65536, 65537, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_HUGE = (1 << 32, 1 << 33, 1 << 40, 1 << 56, (1 << 61) + 1, (1 << 62) + 7, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_TEXTS = (
    *(
        b"",
        b"x",
        b"llama",
        b"qwen2",
        b"gemma3",
        b"bert",
        b"clip",
        b"mamba",
        b"t5",
        b"deepseek2",
        b"no-such",
        b"\xff\xfe",
    ),
    *(b"\xed\xa0\x80", b"\0", b"a\0b", b"a\nb", b"\x1b[31m\r\n", "\u202e\u2028".encode(), b"../../out", b"a" * 5_000),
    *(b"none", b"gpt2", b"bpe", b"spm", b"model", b"adapter", b"mmproj", b"imatrix", b"/etc/hostname", b"<b>&\"'"),
    *(
        "\u2581".encode(),
        b"{{ 7 * 7 }}",
        b"https://huggingface.co/a/b",
        b"f" * 64,
        b"synthetic",
        b"%s%n%d",
        b"a" * 70_000,
    ),
)
_KEYS = """
general.architecture general.alignment general.type general.file_type general.name general.quantization_version
split.no split.count split.tensors.count tokenizer.ggml.model tokenizer.ggml.pre tokenizer.ggml.tokens
tokenizer.ggml.scores tokenizer.ggml.token_type tokenizer.ggml.merges tokenizer.ggml.bos_token_id
tokenizer.chat_template ARCH.block_count ARCH.embedding_length ARCH.context_length ARCH.vocab_size
ARCH.attention.head_count ARCH.attention.head_count_kv ARCH.attention.key_length ARCH.attention.value_length
ARCH.attention.sliding_window ARCH.attention.sliding_window_pattern ARCH.attention.causal ARCH.feed_forward_length
ARCH.expert_count ARCH.expert_used_count ARCH.rope.freq_base ARCH.rope.scaling.type ARCH.rope.dimension_count
ARCH.attention.layer_norm_rms_epsilon imatrix.datasets imatrix.chunk_count imatrix.chunk_size slmprof.weights
slmprof.standin_for slmprof.standin_family slmprof.source slmprof.revision slmprof.imatrix.sha256
general.source.huggingface.repository general.repo_url
""".split()  # noqa: SIM905  a list of names reads better as text


@dataclass
class Key:
    """One key with its value as it is stored."""

    name: bytes
    kind: int
    value: bytes


@dataclass
class Entry:
    """One tensor's entry."""

    name: bytes
    dims: list[int]
    kind: int
    offset: int
    n_dims: int | None = None  # where it is not the number of `dims`


@dataclass
class Parts:
    """A file, taken apart."""

    keys: list[Key]
    tensors: list[Entry]
    data: bytes  # of the tensors
    magic: bytes = b"GGUF"
    version: int = 3
    counts: list[int | None] = field(default_factory=lambda: [None, None])  # of tensors and keys, where they are wrong
    text_bytes: dict[int, int] = field(default_factory=dict)  # the length that the key or tensor at a place claims


def taken_apart(data: bytes) -> Parts:
    """Return the parts of a file that is right."""
    version, n_tensors, n_keys = struct.unpack_from("<IQQ", data, 4)
    at = 24

    def text() -> bytes:
        nonlocal at
        (length,) = struct.unpack_from("<Q", data, at)
        at += 8 + length
        return data[at - length : at]

    def skip(kind: int) -> None:
        nonlocal at
        if kind == _STRING:
            text()
        elif kind == _ARRAY:
            item, count = struct.unpack_from("<IQ", data, at)
            at += 12
            for _ in range(count):
                skip(item)
        else:
            at += _SIZES[kind]

    keys, tensors = [], []
    for _ in range(n_keys):
        name = text()
        (kind,) = struct.unpack_from("<I", data, at)
        at += 4
        start = at
        skip(kind)
        keys.append(Key(name, kind, data[start:at]))
    for _ in range(n_tensors):
        name = text()
        (n_dims,) = struct.unpack_from("<I", data, at)
        *dims, kind, offset = struct.unpack_from(f"<{n_dims}QIQ", data, at + 4)
        at += 4 + 8 * n_dims + 12
        tensors.append(Entry(name, dims, kind, offset))
    return Parts(keys, tensors, data[-(-at // 32) * 32 :], version=version)


def put_together(parts: Parts) -> bytes:
    """Return the file."""
    counts = [len(parts.tensors), len(parts.keys)]
    given = [own if count is None else count for own, count in zip(counts, parts.counts, strict=True)]
    names = [each.name for each in (*parts.keys, *parts.tensors)]
    texts = [
        struct.pack("<Q", parts.text_bytes.get(place, len(name)) % (1 << 64)) + name for place, name in enumerate(names)
    ]
    out = [parts.magic, struct.pack("<IQQ", parts.version % (1 << 32), *(count % (1 << 64) for count in given))]
    for text, key in zip(texts, parts.keys, strict=False):
        out += [text, struct.pack("<I", key.kind % (1 << 32)), key.value]
    for text, entry in zip(texts[len(parts.keys) :], parts.tensors, strict=True):
        n_dims = len(entry.dims) if entry.n_dims is None else entry.n_dims
        dims = [dim % (1 << 64) for dim in entry.dims]
        out.append(text + struct.pack(f"<I{len(dims)}Q", n_dims % (1 << 32), *dims))
        out.append(struct.pack("<IQ", entry.kind % (1 << 32), entry.offset % (1 << 64)))
    header = b"".join(out)
    return header + b"\0" * (-len(header) % 32) + parts.data


def mutated(bases: list[Parts], random: Random) -> bytes:
    """Return a file of which one to three things were changed, or two files spliced."""
    parts = _copied(random.choice(bases))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        kind = random.random()
        if kind < 0.12:
            _change_header(parts, random)
        elif kind < 0.5:
            _change_keys(parts, random)
        elif kind < 0.82:
            _change_tensors(parts, random)
        elif kind < 0.92:
            _splice(parts, random.choice(bases), random)
        else:
            parts.data = random.choice((parts.data[: random.randrange(len(parts.data) + 1)], parts.data + b"\0" * 64))
    data = put_together(parts)
    kind = random.random()
    if kind < 0.1:
        return changed_bytes(data, random)
    if kind < 0.16:
        return data[: random.randrange(len(data) + 1)]
    if kind < 0.19:
        other = put_together(random.choice(bases))
        return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]
    return data


def _copied(parts: Parts) -> Parts:
    """Return a copy; copy.deepcopy takes longer than reading the file."""
    tensors = [Entry(each.name, list(each.dims), each.kind, each.offset) for each in parts.tensors]
    return Parts([copy.copy(key) for key in parts.keys], tensors, parts.data, version=parts.version)


def _change_header(parts: Parts, random: Random) -> None:
    kind = random.randrange(4)
    if kind == 0:
        parts.magic = random.choice((b"FUGG", b"ggjt", b"GGU", b"gguf", b"", b"GGUFGGUF", b"version "))
    elif kind == 1:
        parts.version = random.choice((0, 1, 2, 4, 3 << 24, 3 << 16, 1 << 31, 0xFFFFFFFF))
    else:
        own = len((parts.tensors, parts.keys)[kind - 2])
        parts.counts[kind - 2] = random.choice((*_COUNTS, *_HUGE, own - 1, own + 1, own * 2))


def _change_keys(parts: Parts, random: Random) -> None:
    arch = next((key.value[8:] for key in parts.keys if key.name == b"general.architecture"), b"llama")
    if not parts.keys or random.random() < 0.35:
        name = random.choice(_KEYS).encode().replace(b"ARCH", arch)
        key = next((key for key in parts.keys if key.name == name), None)
        if key is None:
            key = Key(name, 4, b"")
            parts.keys.insert(random.randrange(len(parts.keys) + 1), key)
        key.kind, key.value = _value(random)
        return
    place = random.randrange(len(parts.keys))
    key = parts.keys[place]
    changes: list[Callable[[], object]] = [
        lambda: parts.keys.pop(place),
        lambda: parts.keys.insert(random.randrange(len(parts.keys) + 1), copy.copy(key)),
        lambda: setattr(key, "name", random.choice((random.choice(parts.keys).name, *_TEXTS))),
        lambda: setattr(key, "kind", random.choice((*range(14), 255, 1 << 31))),
        lambda: parts.text_bytes.update({place: random.choice((*_COUNTS, *_HUGE))}),
        lambda: setattr(key, "value", _another(key, random)),
        lambda: setattr(key, "value", _another(key, random)),
        lambda: random.shuffle(parts.keys),
    ]
    random.choice(changes)()


def _value(random: Random) -> tuple[int, bytes]:
    """Return a type and a value that fits it, most often."""
    kind = random.choice((0, 4, 4, 5, 6, 7, 8, 8, 8, 9, 9, 10, 11, 12))
    if kind == _STRING:
        return kind, _text(random.choice(_TEXTS))
    if kind == _ARRAY:
        return kind, _array(random)
    return kind, _number(_SIZES[kind], random)


def _number(size: int, random: Random) -> bytes:
    odd = random.choice((*_COUNTS, *_HUGE, random.getrandbits(64), 0x7FC00000, 0x7F800000, 0x3F800000))
    return (odd % (1 << 8 * size)).to_bytes(size, "little")


def _array(random: Random) -> bytes:
    item = random.choice((0, 4, 4, 5, 6, 7, 8, 8, 9, 10, 13, 255))
    count = random.choice((0, 1, 2, 2, 3, 30, 300, 5_000))
    claimed = random.choice((count, count, count, count, *_HUGE, count + 1))
    head = struct.pack("<IQ", item, claimed)
    if item == _STRING:
        return head + b"".join(_text(random.choice(_TEXTS)[:64]) for _ in range(count))
    if item == _ARRAY:  # nested, which gguf's own reader knows no end of
        depth = random.choice((1, 2, 100, 5_000))
        return head + struct.pack("<IQ", _ARRAY, 1) * depth + struct.pack("<IQI", 4, 1, 7)
    return head + b"".join(_number(_SIZES.get(item, 4), random) for _ in range(count))


def _text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _another(key: Key, random: Random) -> bytes:
    """Return another value of the same type, or one whose lengths are wrong."""
    if key.kind in _SIZES:
        size, own = _SIZES[key.kind], int.from_bytes(key.value, "little")
        near = [(own + step) % (1 << 8 * size) for step in (-1, 1, own, 256)]
        return random.choice((random.choice(near).to_bytes(size, "little"), _number(size, random)))
    length = random.choice((*_COUNTS, *_HUGE, len(key.value) - 7, len(key.value) - 9))
    if key.kind == _STRING:
        texts = (_text(random.choice(_TEXTS)), struct.pack("<Q", max(0, length)) + key.value[8:])
        return random.choice(texts)
    arrays = (
        _array(random),
        key.value[:4] + struct.pack("<Q", max(0, length)) + key.value[12:],
        struct.pack("<I", random.randrange(14)) + key.value[4:],
        key.value[:12] + changed_bytes(key.value[12:], random),
    )
    return random.choice(arrays)


def _change_tensors(parts: Parts, random: Random) -> None:
    if not parts.tensors:
        parts.tensors.append(Entry(b"x", [32], 0, 0))
    place = random.randrange(len(parts.tensors))
    entry, other = parts.tensors[place], random.choice(parts.tensors)
    dim = random.randrange(len(entry.dims)) if entry.dims else 0
    claimed = {len(parts.keys) + place: random.choice((*_COUNTS, *_HUGE))}
    near = (entry.offset - 32, entry.offset + 32, entry.offset - 1, entry.offset + 1, other.offset)
    changes: list[Callable[[], object]] = [
        lambda: parts.tensors.pop(place),
        lambda: parts.tensors.insert(random.randrange(len(parts.tensors) + 1), copy.deepcopy(entry)),
        lambda: setattr(entry, "name", random.choice((other.name, entry.name + b".x", *_TEXTS))),
        lambda: parts.text_bytes.update(claimed),
        lambda: entry.dims.__setitem__(slice(dim, dim + 1), [random.choice((*_COUNTS, *_HUGE))]),
        lambda: setattr(entry, "dims", random.choice(([], entry.dims[::-1], [*entry.dims, 1], [1] * 5, other.dims))),
        lambda: setattr(entry, "n_dims", random.choice((0, 1, 2, 3, 4, 5, 1 << 31))),
        lambda: setattr(entry, "kind", random.choice([*(each.number for each in GGML_TYPES), 4, 31, 99, 1 << 31])),
        lambda: setattr(entry, "offset", random.choice((*near, *_COUNTS, *_HUGE))),
        lambda: random.shuffle(parts.tensors),
        lambda: _swap_names(entry, other),
    ]
    random.choice(changes)()


def _swap_names(one: Entry, other: Entry) -> None:
    one.name, other.name = other.name, one.name


def _splice(parts: Parts, other: Parts, random: Random) -> None:
    """Take the keys, the tensors or the data of another file, all or some."""
    kind = random.randrange(4)
    if kind == 0:
        parts.keys = _copied(other).keys
    elif kind == 1:
        parts.tensors = _copied(other).tensors
    elif kind == 2:
        parts.data = other.data
    else:
        parts.keys += _copied(other).keys[random.randrange(len(other.keys) + 1) :]
