"""What advice is drawn from, and one piece of it."""

import msgspec

from profiler.device.os.machine import Details
from profiler.records.record import Conditions, Environment


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A device at one moment: all that the rules look at."""

    environment: Environment
    conditions: Conditions
    details: Details
    available_bytes: int
    repacking_works: bool | None  # llama.cpp's repacked kernels, tried on this device
    assertions: bool | None  # compiled into ggml's CPU code
    word_bits: int = 64  # of the Python that runs this
    installer: str = "pip"  # "pip" | "pipx" | "uv": what this program was installed with


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that bears on measurements, what it does to them, and how to mend it."""

    name: str
    severity: str  # "warning": it would spoil a measurement; "note": it should be known when results are compared
    fact: str
    effect: str
    advice: str | None = None  # in words, where no command mends it alone
    command: str | None = None  # one line of a shell, PowerShell on Windows


def warning(name: str, fact: str, effect: str, *, advice: str | None = None, command: str | None = None) -> Finding:
    """Make a finding that would spoil a measurement."""
    return Finding(name=name, severity="warning", fact=fact, effect=effect, advice=advice, command=command)


def note(name: str, fact: str, effect: str, *, advice: str | None = None, command: str | None = None) -> Finding:
    """Make a finding that should be known when results are compared."""
    return Finding(name=name, severity="note", fact=fact, effect=effect, advice=advice, command=command)
