"""How a measurement ended, and why it is not to be trusted."""

from typing import Annotated

import msgspec

Status = Annotated[str, msgspec.Meta(pattern=r"\A(?:ok|failed|skipped)\Z")]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a round gave no samples."""

    # "abort" | "killed" | "timeout" | "load" | "context" | "decode" | "memory" | "values" | "worker"; of quality also
    # "tokens" | "disk"
    kind: str
    message: str
    signal: str | None = None  # "SIGABRT", ...


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """Why a successful round is suspect: drift control found the device at another speed after it."""

    name: Annotated[str, msgspec.Meta(pattern=r"\A(?:throttled|drifting)\Z")]  # of analysis/flags.py
    message: str
    slowdown: float | None = None  # how many times as fast the reference cell is at the opening's speed
