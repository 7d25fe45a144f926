"""Hostile files of torch.save: programs in pickles, opcodes at random, odd arguments and ids, broken zip files."""

import io
import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from quant.convert.pickled.rebuild import ALLOWED
from tests.fuzz.mutations.odd import NUMBERS, ODD, changed_bytes
from tests.support.torch_files import (
    DTYPES,
    STORAGES,
    Called,
    Named,
    Pickler,
    StateDict,
    Storage,
    View,
    legacy_file,
    pickled,
    rebuilding,
    torch_file,
    view_of,
    zip_file,
    zip_of,
)

_REBUILDING = [Named(*name) for name in ALLOWED]
_OTHERS = [
    Named("os", "system"),
    Named("builtins", "eval"),
    Named("builtins", "getattr"),
    Named("torch", "load"),
    Named("torch._utils", "_rebuild_qtensor"),
    Named("collections", "namedtuple"),
    Named("quant.base.files", "write_text"),
    Named("torch", "FloatStorage.from_file"),
    Named("\x1b[31m", "\u202e"),
]
_VALUES = {"BININT", "BININT1", "BININT2", "BINUNICODE", "NEWFALSE", "NEWTRUE", "EMPTY_DICT", "EMPTY_TUPLE", "NONE"}
_NO_ARGUMENT = b".NJKMGX)]}(\x85\x86\x87taesubQRhjq\x88\x89\x93\x94\x94\x95\x8a\x8c\x8d"
_ODD_NAMES = (
    "a/data.pkl",
    "data.pkl",
    "../data.pkl",
    "/etc/passwd",
    "a/data/../0",
    "a/constants.pkl",
    "",
    "a/byteorder",
)


class Hostile(NamedTuple):
    """A file."""

    data: bytes
    names: bool  # whether its pickle names something, so that it must be refused for that


def hostile(payloads: Sequence[bytes], random: Random) -> Hostile:
    """Make a file; `payloads` are pickles that do something."""
    kind = random.random()
    if kind < 0.35:
        return Hostile(_with_payload(random.choice(payloads), random), names=True)
    if kind < 0.5:
        return Hostile(_as_file(_opcodes(random), {}, random), names=False)
    if kind < 0.75:
        return Hostile(_odd_arguments(random), names=False)
    if kind < 0.85:
        return Hostile(_odd_ids(random), names=False)
    if kind < 0.92:
        return Hostile(_odd_zip(random), names=False)
    return Hostile(changed_bytes(good(random), random), names=False)


def good(random: Random) -> bytes:
    """Return a file with nothing wrong."""
    form = random.choice(({}, {}, {"legacy": True}, {"protocol": 4}, {"zip64": True}))
    return torch_file(_tensors(random), **form)


def _tensors(random: Random) -> Any:
    shared = Storage("F32", random.randbytes(96))
    tensors = {
        "embed": View(shared, (4, 6)),
        "head": View(shared, (6, 4), 0, (1, 6)),
        "norm": view_of(random.choice(sorted((*STORAGES, *DTYPES))), (), random.randbytes(8), is_parameter=True),
        "empty": view_of("BF16", (0, 4), b""),
    }
    return rebuilding(tensors, random.choice((dict, StateDict)))


def _as_file(data_pkl: bytes, storages: dict[str, Storage], random: Random) -> bytes:
    if random.random() < 0.3:
        return legacy_file(data_pkl, storages)
    return zip_file(data_pkl, {key: storage.data for key, storage in storages.items()})


def _with_payload(payload: bytes, random: Random) -> bytes:
    """Put a payload in place of a value of a good pickle, or of the whole, or in a file without any format."""
    kind = random.random()
    if kind < 0.1:
        return payload if payload.startswith(b"\x80") else b"\x80\x02" + payload
    legacy = random.random() < 0.3
    data_pkl, storages = pickled(_tensors(random), random.choice((2, 4)), legacy=legacy)
    if kind < 0.25:
        data_pkl = payload
    else:
        places = [(place, opcode) for opcode, _, place in pickletools.genops(data_pkl)]
        number = random.choice([number for number, (_, opcode) in enumerate(places) if opcode.name in _VALUES])
        body = _body(payload)
        data_pkl = data_pkl[: places[number][0]] + body + data_pkl[places[number + 1][0] :]
    if legacy:
        return legacy_file(data_pkl, storages)
    return zip_file(data_pkl, {key: storage.data for key, storage in storages.items()})


def _body(payload: bytes) -> bytes:
    """Return a pickle's opcodes without its protocol, frame and end."""
    start = next(place for opcode, _, place in pickletools.genops(payload) if opcode.name not in ("PROTO", "FRAME"))
    return payload[start:-1]


def _opcodes(random: Random) -> bytes:
    """Write opcodes at random, most of them known ones with arguments that fit."""
    made = bytearray(b"\x80\x02")
    for _ in range(random.randrange(1, 60)):
        kind = random.random()
        if kind < 0.1:
            name = random.choice(_REBUILDING if random.random() < 0.9 else _OTHERS)
            made += f"c{name.module}\n{name.name}\n".encode()
        elif kind < 0.2:
            text = random.choice((b"storage", b"0", b"cpu", b"t", random.randbytes(3)))
            made += b"X" + struct.pack("<I", random.choice((len(text), len(text), len(text), 1 << 31))) + text
        elif kind < 0.3:
            made += b"K" + random.randbytes(1)
        elif kind < 0.35:
            made += random.randbytes(random.randrange(1, 6))
        else:
            made += bytes([random.choice(_NO_ARGUMENT)]) + random.choice((b"", b"", b"\0", b"\1", b"\0\0\0\0"))
    return bytes(made) + b"."


def _odd_arguments(random: Random) -> bytes:
    """Rebuild tensors of odd arguments, or call what is no function of tensors."""
    storage: Any = Storage(random.choice(sorted((*STORAGES, *DTYPES))), random.randbytes(24))
    arguments: list[Any] = [storage, 0, (2, 3), (3, 1), False, OrderedDict()]
    if storage.dtype in DTYPES:
        arguments.append(Named("torch", DTYPES[storage.dtype]))
    for _ in range(random.choice((1, 1, 2))):
        place = random.randrange(len(arguments) + 1)
        arguments[place : place + random.choice((0, 1, 1))] = [_odd_argument(random)]
    function = random.choice(_REBUILDING) if random.random() < 0.2 else _rebuild_of(storage)
    state = {"a": 1} if random.random() < 0.05 else None
    value = {random.choice(("t", "\0", "a" * 300)): Called(function, *arguments, state=state)}
    return torch_file(value, legacy=random.random() < 0.3)


def _rebuild_of(storage: Storage) -> Named:
    return Named("torch._utils", "_rebuild_tensor_v3" if storage.dtype in DTYPES else "_rebuild_tensor_v2")


def _odd_argument(random: Random) -> Any:
    kind = random.random()
    if kind < 0.4:
        return tuple(random.choice((*NUMBERS, 0, 1, 2, 3)) for _ in range(random.choice((1, 2, 2, 3, 9))))
    if kind < 0.5:
        return random.choice(_REBUILDING)
    return random.choice(ODD)


class _OddPickler(Pickler):
    """Writes odd persistent ids."""

    random: Random

    def persistent_id(self, value: Any) -> Any:
        found = super().persistent_id(value)
        if found is None:
            return None
        parts = list(found)
        place = self.random.randrange(len(parts))
        parts[place : place + self.random.choice((0, 1, 1, 1))] = [_odd_argument(self.random)]
        return self.random.choice((tuple(parts), tuple(parts), tuple(parts), parts, parts[0]))


def _odd_ids(random: Random) -> bytes:
    file = io.BytesIO()
    legacy = random.random() < 0.3
    pickler = _OddPickler(file, random.choice((2, 4)), legacy=legacy)
    pickler.random = random
    pickler.dump(_tensors(random))
    if legacy:
        return legacy_file(file.getvalue(), pickler.storages)
    return zip_file(file.getvalue(), {key: storage.data for key, storage in pickler.storages.items()})


def _odd_zip(random: Random) -> bytes:
    """Write a zip file whose members are packed, misnamed, missing or more than there should be."""
    data_pkl, storages = pickled(_tensors(random))
    members = {"a/data.pkl": data_pkl} | {f"a/data/{key}": storage.data for key, storage in storages.items()}
    for _ in range(random.choice((0, 1, 2))):
        name = random.choice([*members, *_ODD_NAMES])
        members.pop(name, None)
        if random.random() < 0.7:
            members[random.choice((*_ODD_NAMES, name))] = random.randbytes(random.randrange(40))
    made = zip_of(
        members,
        zip64=random.random() < 0.3,
        method=random.choice((0, 0, 0, 8, 12, 14, 99)),
        flags=random.choice((0x808, 0x808, 0, 1, 0x41, 0x2000)),
    )
    if random.random() < 0.5:
        changed = bytearray(made)
        place = random.randrange(len(made) - 400, len(made))
        changed[place : place + 4] = random.choice((bytes(4), b"\xff" * 4, struct.pack("<I", random.randrange(2_000))))
        made = bytes(changed)
    return made


def payload(function: Any, *arguments: Any, protocol: int) -> bytes:
    """Return a pickle that calls a function when it is loaded."""
    return pickle.dumps(_Calling(function, arguments), protocol)


class _Calling:
    def __init__(self, function: Any, arguments: tuple[Any, ...]) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self._reduced
