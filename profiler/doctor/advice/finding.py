"""The input of the rules, and what a rule returns."""

import msgspec

from profiler.device.os.machine import Details
from profiler.records.environment import Environment
from profiler.records.round import Conditions


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A device at one moment, as the rules see it."""

    environment: Environment
    conditions: Conditions
    details: Details
    available_bytes: int
    repacking_works: bool | None  # whether llama.cpp's repacked kernels run here without a crash
    assertions: bool | None  # whether they are compiled into ggml's CPU code
    word_bits: int = 64  # of this Python
    installer: str = "pip"  # "pip" | "pipx" | "uv": what installed this program


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One fact, its effect on measurements, and how to fix it."""

    name: str
    severity: str  # "warning": it spoils measurements; "note": it matters when results are compared
    fact: str  # with the value seen
    effect: str
    advice: str | None = None  # what to do where a command alone does not fix it
    command: str | None = None  # one line for the shell; PowerShell on Windows


def warning(name: str, fact: str, effect: str, *, advice: str | None = None, command: str | None = None) -> Finding:
    """Return a finding that would spoil a measurement."""
    return Finding(name=name, severity="warning", fact=fact, effect=effect, advice=advice, command=command)


def note(name: str, fact: str, effect: str, *, advice: str | None = None, command: str | None = None) -> Finding:
    """Return a finding that matters when results are compared."""
    return Finding(name=name, severity="note", fact=fact, effect=effect, advice=advice, command=command)
