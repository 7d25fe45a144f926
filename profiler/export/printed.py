"""Files with what a command printed as JSON, read back. They are untrusted."""

from pathlib import Path
from typing import TypeVar

import msgspec

from quant.base.errors import UserError

T = TypeVar("T")
_MAX_BYTES = 64 << 20


def read_printed(path: Path, kind: type[T], command: str) -> T:
    """Return what `command` printed into a file, as a `kind`.

    Raises:
        UserError: the file cannot be read, or is something else.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        return msgspec.json.decode(text, type=kind)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; save the output of {command} there") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not the output of {command} ({str(error)[:100]}); save it with > FILE") from error
