"""Numbers of records: a file may hold any, and what is computed from more than 64 bits would overflow later."""

from typing import Annotated

import msgspec

MOST = (1 << 63) - 1
Int64 = Annotated[int, msgspec.Meta(ge=-MOST - 1, le=MOST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
