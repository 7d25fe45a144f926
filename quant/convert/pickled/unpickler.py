"""An unpickler for weights: it makes dicts, lists, tuples, numbers, text and records of tensors, and calls nothing.

A file can hold any pickle, and a pickle is a program. So only the opcodes that torch.save writes are known, only the
names in rebuild.py, and how much is read and made is bounded. Nested values are never walked, compared or printed: a
few bytes can stand for more of them than there are atoms.
Source: the opcodes as in Lib/pickletools.py of CPython; protocols 2 to 5.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from quant.convert.pickled.errors import Refusals
from quant.convert.pickled.rebuild import ALLOWED, Function, Ordered, Storage, WrongError, storage_of

# A tensor takes some 30 opcodes and 200 bytes: enough for 60,000, and for no more memory than the weights' chunks.
MAX_BYTES = 16 << 20
MAX_OPCODES = 2_000_000
_MAX_LINE = 250  # bytes of a module's or a function's name
_MAX_INT_BYTES = 16  # the format's own number has 10
_PROTOCOLS = range(2, 6)
_OTHERS = {
    "0": "POP", "1": "POP_MARK", "2": "DUP", "F": "FLOAT", "I": "INT", "L": "LONG", "P": "PERSID", "S": "STRING",
    "T": "BINSTRING", "U": "SHORT_BINSTRING", "V": "UNICODE", "B": "BINBYTES", "C": "SHORT_BINBYTES", "d": "DICT",
    "g": "GET", "l": "LIST", "o": "OBJ", "p": "PUT", "\x81": "NEWOBJ", "\x8b": "LONG4", "\x8d": "BINUNICODE8",
    "\x8e": "BINBYTES8", "\x8f": "EMPTY_SET", "\x90": "ADDITEMS", "\x91": "FROZENSET", "\x92": "NEWOBJ_EX",
    "\x96": "BYTEARRAY8", "\x97": "NEXT_BUFFER", "\x98": "READONLY_BUFFER",
}  # fmt: skip
_EXTENSIONS = {0x82: "<B", 0x83: "<H", 0x84: "<i"}
_INST = ord("i")
_STOP = ord(".")


class Unpickler:
    """Reads pickles that follow each other in a file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._refuse = Refusals(path)
        self._left = MAX_BYTES
        self._n_opcodes = 0
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []  # the stacks below the marks
        self._memo: list[Any] = []
        self.storages: dict[str, Storage] = {}  # by key

    def load(self) -> Any:
        """Read one pickle and return what it makes.

        Raises:
            UserError: it names or does what no weights need, or is damaged.
            OSError: the file cannot be read.
        """
        self._stack, self._marks, self._memo = [], [], []
        try:
            while (code := self._read(1)[0]) != _STOP:
                self._n_opcodes += 1
                if self._n_opcodes > MAX_OPCODES:
                    raise self._refuse.hostile(f"has a pickle of more than {MAX_OPCODES} opcodes")
                known = _KNOWN.get(code)
                if known is None:
                    raise self._unknown(code)
                known(self)
            return self._pop()
        except WrongError as error:
            raise self._refuse.broken(str(error)) from error
        except UnicodeDecodeError as error:
            raise self._refuse.broken("text in its pickle is no UTF-8") from error

    # --- the file

    def _read(self, n_bytes: int) -> bytes:
        if n_bytes > self._left:
            raise self._refuse.hostile(f"has a pickle of more than {MAX_BYTES >> 20} MiB")
        data = self._file.read(n_bytes)
        self._left -= n_bytes
        if len(data) != n_bytes:
            raise WrongError("its pickle ends early")
        return data

    def _number(self, form: str) -> int:
        (found,) = struct.unpack(form, self._read(struct.calcsize(form)))
        return int(found)

    def _line(self) -> str:
        data = self._file.readline(_MAX_LINE)
        self._left -= len(data)
        if not data.endswith(b"\n"):
            raise WrongError("a name in its pickle does not end")
        return data[:-1].decode()

    # --- the stack

    def _pop(self) -> Any:
        if not self._stack:
            raise WrongError("its pickle takes a value where there is none")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise WrongError("its pickle takes a value where there is none")
        return self._stack[-1]

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        if not self._marks:
            raise WrongError("its pickle takes values where there is no mark")
        found, self._stack = self._stack, self._marks.pop()
        return found

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _push_tuple(self, n_values: int) -> None:
        values = [self._pop() for _ in range(n_values)]
        self._push(tuple(reversed(values)))

    def _extend(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise WrongError("its pickle appends to what is no list")
        target.extend(values)

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(items) % 2:
            raise WrongError("its pickle sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:  # others would be hashed, which walks them
                raise WrongError("a key in its pickle is no text")
            target[key] = value

    # --- the memo

    def _put(self, index: int) -> None:
        if index != len(self._memo):  # as every pickler counts; keys of a dict could be chosen to collide
            raise WrongError("its pickle keeps a value out of order")
        self._memo.append(self._top())

    def _get(self, index: int) -> None:
        if index >= len(self._memo):
            raise WrongError("its pickle repeats what was not there")
        self._push(self._memo[index])

    # --- single opcodes

    def _protocol(self) -> None:
        number = self._number("<B")
        if number not in _PROTOCOLS:
            raise self._refuse.hostile(f"has a pickle of protocol {number}")

    def _long(self) -> None:
        n_bytes = self._number("<B")
        if n_bytes > _MAX_INT_BYTES:
            raise self._refuse.hostile(f"has a number of {n_bytes} bytes in its pickle")
        self._push(int.from_bytes(self._read(n_bytes), "little", signed=True))

    def _double(self) -> None:
        self._push(struct.unpack(">d", self._read(8))[0])

    def _text(self, form: str) -> None:
        self._push(self._read(self._number(form)).decode())

    def _global(self) -> None:
        module = self._line()
        self._push_named(module, self._line())

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise WrongError("a name in its pickle is no text")
        self._push_named(module, name)

    def _push_named(self, module: str, name: str) -> None:
        found = ALLOWED.get((module, name))
        if found is None:
            raise self._refuse.name(module, name)
        self._push(found)

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Function):
            raise self._refuse.hostile("calls what is no function in its pickle")
        if type(arguments) is not tuple:
            raise WrongError("its pickle calls a function without arguments")
        self._push(function.apply(arguments))

    def _build(self) -> None:
        """Drop the attributes of an OrderedDict: a module's state_dict has its versions there."""
        state = self._pop()
        if type(self._top()) is not Ordered or type(state) is not dict:
            raise self._refuse.hostile("sets the state of something in its pickle")

    def _persistent(self) -> None:
        storage = storage_of(self._pop())
        if self.storages.setdefault(storage.key, storage) != storage:
            raise WrongError(f"storage {storage.key[:40]} has two types or lengths")
        self._push(storage)

    def _unknown(self, code: int) -> Exception:
        """Return the error for an opcode that torch.save does not write."""
        if code == _INST:
            module = self._line()
            return self._refuse.name(module, self._line())
        if code in _EXTENSIONS:
            return self._refuse.hostile(f"names the extension {self._number(_EXTENSIONS[code])}")
        what = _OTHERS.get(chr(code))
        if what is None:
            return WrongError(f"byte {code:#04x} in its pickle is no opcode")
        return self._refuse.hostile(f"has the opcode {what} in its pickle")


_KNOWN: dict[int, Callable[[Unpickler], object]] = {
    ord(code): does
    for code, does in {
        "\x80": Unpickler._protocol,
        "\x95": lambda self: self._read(8),  # a frame's length, which nothing depends on
        "N": lambda self: self._push(None),
        "\x88": lambda self: self._push(True),
        "\x89": lambda self: self._push(False),
        "J": lambda self: self._push(self._number("<i")),
        "K": lambda self: self._push(self._number("<B")),
        "M": lambda self: self._push(self._number("<H")),
        "\x8a": Unpickler._long,
        "G": Unpickler._double,
        "X": lambda self: self._text("<I"),
        "\x8c": lambda self: self._text("<B"),
        ")": lambda self: self._push(()),
        "\x85": lambda self: self._push_tuple(1),
        "\x86": lambda self: self._push_tuple(2),
        "\x87": lambda self: self._push_tuple(3),
        "t": lambda self: self._push(tuple(self._since_mark())),
        "]": lambda self: self._push([]),
        "a": lambda self: self._extend([self._pop()]),
        "e": lambda self: self._extend(self._since_mark()),
        "}": lambda self: self._push({}),
        "s": lambda self: self._set([self._pop(), self._pop()][::-1]),
        "u": lambda self: self._set(self._since_mark()),
        "(": Unpickler._mark,
        "q": lambda self: self._put(self._number("<B")),
        "r": lambda self: self._put(self._number("<I")),
        "\x94": lambda self: self._put(len(self._memo)),
        "h": lambda self: self._get(self._number("<B")),
        "j": lambda self: self._get(self._number("<I")),
        "c": Unpickler._global,
        "\x93": Unpickler._stack_global,
        "R": Unpickler._reduce,
        "b": Unpickler._build,
        "Q": Unpickler._persistent,
    }.items()
}
