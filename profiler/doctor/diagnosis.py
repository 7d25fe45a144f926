"""What `doctor` tells: the device, the build of llama.cpp, the conditions, and the advice drawn from them."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from profiler.device.conditions import ConditionsReader
from profiler.device.environment import available_memory_bytes, physical_cores, read_environment
from profiler.device.llama_build import has_assertions, probe_backend
from profiler.device.os.system import this_system
from profiler.doctor.advice import Finding, Seen, advise
from profiler.measure.repack_probe import repacking_works
from profiler.sweep.grid import default_threads

_OF_DEVICE = (
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
_OF_BUILD = (
    "binding_version",
    "llama_commit",
    "threading",
    "backends",
    "devices",
    "cpu_features",
    "thread_variables",
)


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen, and what follows from it."""

    seen: Seen
    threads: tuple[int, ...]  # that `profile` takes without -t
    findings: tuple[Finding, ...]


def diagnose() -> Diagnosis:
    """Look at this device.

    Raises:
        UserError: llama.cpp is missing or cannot be loaded.
    """
    # Before llama.cpp is asked, which is work by itself.
    conditions = ConditionsReader(None).read()
    available = available_memory_bytes()
    backend = probe_backend()
    details = this_system().details()
    seen = Seen(
        environment=read_environment(backend),
        conditions=conditions,
        details=details,
        available_bytes=available,
        repacking_works=repacking_works(),
        assertions=has_assertions(),
        word_bits=64 if sys.maxsize > 1 << 32 else 32,
        installer=installer_of(Path(sys.prefix)),
    )
    return Diagnosis(seen=seen, threads=default_threads(physical_cores()), findings=tuple(advise(seen)))


def installer_of(prefix: Path) -> str:
    """Tell what made this Python's environment, by the note that pipx and uv leave in it: "pipx", "uv", else "pip"."""
    if (prefix / "pipx_metadata.json").exists():
        return "pipx"
    return "uv" if (prefix / "uv-receipt.toml").exists() else "pip"


def to_object(diagnosis: Diagnosis) -> dict[str, Any]:
    """Give a diagnosis as plain values for JSON: device, build, conditions, findings."""
    seen = diagnosis.seen
    environment = msgspec.to_builtins(seen.environment)
    return {
        "device": {
            **{name: environment[name] for name in _OF_DEVICE},
            "os_name": seen.details.os_name,
            "available_bytes": seen.available_bytes,
            "cpu_features": list(seen.details.cpu_features),
            "env_id": seen.environment.id,
            "default_threads": list(diagnosis.threads),
        },
        "build": {
            **{name: environment[name] for name in _OF_BUILD},
            "repacking_works": seen.repacking_works,
            "assertions": seen.assertions,
        },
        "conditions": msgspec.to_builtins(seen.conditions),
        "findings": msgspec.to_builtins(diagnosis.findings),
    }
