"""Whole numbers: bounds for those in records, and lists of them as a user types them."""

import re
from typing import Annotated

import msgspec

from quant.base.errors import UserError

# A record may hold any number; more than 64 bits would overflow later.
MOST = (1 << 63) - 1
Int64 = Annotated[int, msgspec.Meta(ge=-MOST - 1, le=MOST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]

MAX_TOKENS = 1 << 24
_MAX_LIST = 4096


def parse_ints(text: str, what: str, *, least: int = 0, most: int = MAX_TOKENS) -> tuple[int, ...]:
    """Read "1,2,4" and "1-4" as numbers, each once, in their order.

    Raises:
        UserError: the text is no such list, or a number is out of bounds.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        if not match:
            raise UserError(f"'{part.strip()}' in {what} is not a number; write a list like 1,2,4 or a range like 1-4")
        first, last = int(match[1]), int(match[2] or match[1])
        if first < least or last > most:
            raise UserError(f"{what} takes numbers from {least} to {most}, not {part.strip()}")
        if last < first or last - first >= _MAX_LIST:
            raise UserError(f"the range {part.strip()} in {what} is empty or too long; write the smaller number first")
        numbers.extend(range(first, last + 1))
    return tuple(dict.fromkeys(numbers))
