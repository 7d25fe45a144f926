"""What differs between two environments: printed before any figure, since it may be all that was measured."""

from collections.abc import Iterable
from typing import Any

import msgspec

from profiler.records.environment import Environment
from quant.base.units import format_bytes

_BYTES = ("memory_bytes", "memory_limit_bytes", "page_bytes")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One property of the device or its build that is not the same."""

    field: str
    base: str
    new: str


def differences(base: Environment | None, new: Environment | None) -> list[Difference]:
    """List the fields that differ, in the order of the record; where one is unknown, that is the difference."""
    if base is None or new is None:
        if base is new:
            return []
        return [Difference(field="environment", base=_known(base), new=_known(new))]
    found = []
    for name in Environment.__struct_fields__:
        before, after = getattr(base, name), getattr(new, name)
        if before != after and name != "schema":
            if isinstance(before, tuple) and isinstance(after, tuple) and name in ("cpu_features", "backends"):
                before, after = _without(before, after), _without(after, before)
            found.append(Difference(field=name, base=_shown(name, before), new=_shown(name, after)))
    return found


def _known(environment: Environment | None) -> str:
    return "not recorded" if environment is None else environment.id


def _without(these: Iterable[str], those: Iterable[str]) -> tuple[str, ...]:
    """Return what the other lacks: of long lists nothing else is of interest."""
    others = set(those)
    return tuple(each for each in these if each not in others)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name in _BYTES:
        return format_bytes(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items()) or "none"
    if isinstance(value, tuple):
        return ", ".join(_of_list(each) for each in value) or "none more"
    return str(value)


def _of_list(value: Any) -> str:
    """Name a device by its description, a kind of cores by its name and number; all else as it is."""
    if hasattr(value, "description"):
        return str(value.description)
    if hasattr(value, "cpus"):
        speed = f" at {value.max_mhz:.0f} MHz" if value.max_mhz else ""
        return f"{len(value.cpus)} {value.name}{speed}"
    return str(value)
