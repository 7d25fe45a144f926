"""The members of a zip file as torch.save writes it: stored as they are, so that each is a place in the file.

Stricter than the format: the end record is the file's last bytes, and members are neither compressed nor encrypted, nor
twice under a name, nor over each other.
Source: APPNOTE.TXT of PKWARE, 4.3 to 4.5; caffe2/serialize/inline_container.cc of torch 2.13.
"""

import struct
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from quant.convert.pickled.errors import Refusals

MAGIC = b"PK\x03\x04"
_MAX_DIRECTORY = 8 << 20  # bytes; a member takes some 80, and 400 of memory
_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_FIELD = struct.Struct("<2H")
_ENCRYPTED = 1 | 1 << 6 | 1 << 13  # bits of the flags: encrypted, strongly encrypted, its sizes masked
_ZIP64 = 1
_SENTINEL = 0xFFFFFFFF  # the number is in a field of zip64


class Place(NamedTuple):
    """A run of bytes in a file."""

    offset: int
    n_bytes: int


class _Entry(NamedTuple):
    name: str
    header: int  # offset of the local header
    n_bytes: int


def read_members(file: BinaryIO, size: int, path: Path) -> dict[str, Place]:
    """Return the place of each member, in the directory's order.

    Raises:
        UserError: the file is no such zip file, or is cut off.
        OSError: it cannot be read.
    """
    refuse = Refusals(path)
    try:
        directory, data_end = _directory(file, size, refuse)
        entries = _entries(directory, refuse)
    except struct.error as error:
        raise refuse.broken("the directory of its zip file is cut off") from error
    members: dict[str, Place] = {}
    for entry in entries:
        if entry.name in members:
            raise refuse.hostile(f"has two members {entry.name[:100]} in its zip file")
        members[entry.name] = _place(file, entry, data_end, refuse)
    spans = sorted((entry.header, sum(members[entry.name])) for entry in entries)
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise refuse.hostile("has members that overlap in its zip file")
    return members


def _at(file: BinaryIO, offset: int, n_bytes: int) -> bytes:
    file.seek(offset)
    return file.read(n_bytes)


def _directory(file: BinaryIO, size: int, refuse: Refusals) -> tuple[bytes, int]:
    """Return the directory's bytes, and where it begins."""
    end = _at(file, max(0, size - _END.size), _END.size)
    if not end.startswith(b"PK\x05\x06") or len(end) < _END.size:
        raise refuse.broken("its zip file does not end in an end record")
    _, disk, first_disk, _, _, n_bytes, offset, _ = _END.unpack(end)
    end_at = size - _END.size
    locator = _at(file, max(0, end_at - _LOCATOR.size), _LOCATOR.size)
    if locator.startswith(b"PK\x06\x07"):
        _, _, at, _ = _LOCATOR.unpack(locator)
        if at > size:
            raise refuse.broken("its zip file's directory is not within it")
        signature, *_, disk, first_disk, _, _, n_bytes, offset = _END_64.unpack(_at(file, at, _END_64.size))
        if signature != b"PK\x06\x06":
            raise refuse.broken("its zip file's directory is not where it should be")
    if disk or first_disk:
        raise refuse.unreadable("is a part of a zip file of several parts")
    if n_bytes > _MAX_DIRECTORY:
        raise refuse.hostile(f"has a zip directory of {n_bytes} bytes")
    if offset + n_bytes > end_at:
        raise refuse.broken("its zip file's directory is not within it")
    return _at(file, offset, n_bytes), offset


def _entries(directory: bytes, refuse: Refusals) -> list[_Entry]:
    entries = []
    at = 0
    while at < len(directory):
        (signature, _, _, flags, method, _, _, _, packed, n_bytes, n_name, n_extra, n_comment, _, _, _, header) = (
            _CENTRAL.unpack_from(directory, at)
        )
        if signature != b"PK\x01\x02":
            raise refuse.broken("an entry in its zip file's directory has another signature")
        at += _CENTRAL.size
        name = directory[at : at + n_name].decode("utf-8", "replace")
        extra = directory[at + n_name : at + n_name + n_extra]
        at += n_name + n_extra + n_comment
        if at > len(directory):
            raise refuse.broken("the directory of its zip file is cut off")
        _refuse_packed(name, flags, method, refuse)
        n_bytes, packed, header = _large((n_bytes, packed, header), extra)
        if packed != n_bytes:
            raise refuse.broken(f"member {name[:100]} of its zip file has two sizes")
        entries.append(_Entry(name, header, n_bytes))
    return entries


def _refuse_packed(name: str, flags: int, method: int, refuse: Refusals) -> None:
    if flags & _ENCRYPTED:
        raise refuse.unreadable(f"has the encrypted member {name[:100]} in its zip file")
    if method:
        raise refuse.unreadable(f"has the compressed member {name[:100]} in its zip file, where torch.save has none")


def _large(numbers: tuple[int, int, int], extra: bytes) -> tuple[int, int, int]:
    """Return an entry's sizes and offset, those beyond 32 bits from its field of zip64, in the order that it has."""
    at = 0
    while at + _FIELD.size <= len(extra):
        kind, n_bytes = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if kind == _ZIP64:
            longs = (struct.unpack_from("<Q", extra, place)[0] for place in range(at, at + n_bytes, 8))
            found = [next(longs, each) if each == _SENTINEL else each for each in numbers]
            return found[0], found[1], found[2]
        at += n_bytes
    return numbers


def _place(file: BinaryIO, entry: _Entry, data_end: int, refuse: Refusals) -> Place:
    """Return where a member's bytes are: after its local header, whose length the directory does not have."""
    head = _at(file, entry.header, _LOCAL.size) if entry.header < data_end else b""
    if len(head) < _LOCAL.size or not head.startswith(MAGIC):
        raise refuse.broken(f"member {entry.name[:100]} of its zip file is not where its directory says")
    _, _, flags, method, _, _, _, _, _, n_name, n_extra = _LOCAL.unpack(head)
    _refuse_packed(entry.name, flags, method, refuse)
    if file.read(n_name).decode("utf-8", "replace") != entry.name:
        raise refuse.broken(f"member {entry.name[:100]} of its zip file has two names")
    place = Place(entry.header + _LOCAL.size + n_name + n_extra, entry.n_bytes)
    if sum(place) > data_end:
        raise refuse.broken(f"member {entry.name[:100]} of its zip file is cut off")
    return place
