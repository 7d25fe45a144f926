"""A JSON file of a checkpoint, which is untrusted: bounded, and an object."""

import json
from pathlib import Path
from typing import Any

from quant.base.errors import UserError
from quant.base.files import refuse_pointer

_MAX_CONFIG_BYTES = 16 << 20


def read_object(path: Path, max_bytes: int = _MAX_CONFIG_BYTES) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        UserError: it cannot be read, is too large, or holds something else.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise UserError(f"{path} is larger than any such file known; is it the right one?")
        content = path.read_bytes()
        refuse_pointer(path, content)
        data = json.loads(content)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({str(error)[:100]}); download it again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no JSON object; download it again")
    return data
