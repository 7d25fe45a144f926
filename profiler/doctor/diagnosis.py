"""The state of this device: its hardware, its llama.cpp build, the conditions, and the findings drawn from them."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from profiler.device.bandwidth_record import Ceiling, load_ceiling
from profiler.device.energy.find import find_meter
from profiler.device.energy.meter import Meter, NoMeter
from profiler.device.environment import available_memory_bytes, physical_cores, read_environment
from profiler.device.llama_build import has_assertions, probe_backend
from profiler.device.os.system import this_system
from profiler.doctor.advice import Finding, Seen, advise
from profiler.doctor.ceilings import ceiling_object
from profiler.measure.bandwidth import measure_ceiling
from profiler.measure.repack_probe import repacking_works
from profiler.sweep.grid import default_threads

_DEVICE_FIELDS = (
    "board",
    "cpu_model",
    "cores_physical",
    "cores_logical",
    "core_kinds",
    "affinity",
    "cpu_quota",
    "memory_bytes",
    "memory_limit_bytes",
    "page_bytes",
    "huge_pages",
    "governor",
    "turbo",
    "power_mode",
    "system",
    "system_release",
    "machine",
)
_BUILD_FIELDS = (
    "binding_version",
    "llama_commit",
    "threading",
    "backends",
    "devices",
    "cpu_features",
    "thread_variables",
)


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What was observed, and what follows from it."""

    seen: Seen
    threads: tuple[int, ...]  # the default of -t
    findings: tuple[Finding, ...]
    meter: Meter | NoMeter
    ceiling: Ceiling | None  # measured in this environment


def diagnose() -> Diagnosis:
    """Examine this device. Changes nothing.

    Raises:
        UserError: llama.cpp is missing or cannot be loaded.
    """
    # First, since loading llama.cpp makes the machine busy.
    conditions = this_system().conditions()
    available = available_memory_bytes()
    backend = probe_backend()
    environment = read_environment(backend)
    seen = Seen(
        environment=environment,
        conditions=conditions,
        details=this_system().details(),
        available_bytes=available,
        repacking_works=repacking_works(),
        assertions=has_assertions(),
        word_bits=64 if sys.maxsize > 1 << 32 else 32,
        installer=installer_of(Path(sys.prefix)),
    )
    return Diagnosis(
        seen=seen,
        threads=default_threads(physical_cores()),
        findings=tuple(advise(seen)),
        meter=find_meter(environment.board),
        ceiling=load_ceiling(environment.id),
    )


def with_measured_ceiling(diagnosis: Diagnosis) -> Diagnosis:
    """Measure the ceilings now, store them, and return the diagnosis with them. Takes half a minute or more.

    Raises:
        UserError: they cannot be measured.
    """
    ceiling = measure_ceiling(
        diagnosis.seen.environment.id,
        diagnosis.threads,
        repack=repacking_works(),
        available_bytes=diagnosis.seen.available_bytes,
    )
    return msgspec.structs.replace(diagnosis, ceiling=ceiling)


def installer_of(prefix: Path) -> str:
    """Return what installed this Python's environment, from the file that it leaves: "pipx", "uv", else "pip"."""
    if (prefix / "pipx_metadata.json").exists():
        return "pipx"
    return "uv" if (prefix / "uv-receipt.toml").exists() else "pip"


def to_object(diagnosis: Diagnosis, now: datetime | None = None) -> dict[str, Any]:
    """Return plain values for JSON: device, build, conditions, findings, energy, ceilings."""
    seen = diagnosis.seen
    environment = msgspec.to_builtins(seen.environment)
    return {
        "device": {
            **{name: environment[name] for name in _DEVICE_FIELDS},
            "os_name": seen.details.os_name,
            "available_bytes": seen.available_bytes,
            "cpu_features": list(seen.details.cpu_features),
            "env_id": seen.environment.id,
            "default_threads": list(diagnosis.threads),
        },
        "build": {
            **{name: environment[name] for name in _BUILD_FIELDS},
            "repacking_works": seen.repacking_works,
            "assertions": seen.assertions,
        },
        "conditions": msgspec.to_builtins(seen.conditions),
        "findings": msgspec.to_builtins(diagnosis.findings),
        "energy": {
            name: getattr(diagnosis.meter, name, None) for name in ("source", "covers", "interval_ms", "reason")
        },
        "ceilings": diagnosis.ceiling and ceiling_object(diagnosis.ceiling, now or datetime.now(UTC)),
    }
