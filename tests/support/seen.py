"""A device on which nothing would spoil a measurement, for tests of the advice, and changes to it."""

from typing import Any

import msgspec

from profiler.device.energy.meter import NoMeter
from profiler.device.os.machine import Details
from profiler.doctor.advice import Seen, advise
from profiler.doctor.diagnosis import Diagnosis
from profiler.records.environment import CoreKind, Device, Environment
from profiler.records.round import Conditions

QUIET = Seen(
    environment=Environment(
        system="Linux",
        system_release="6.6.51+rpt-rpi-2712",
        machine="aarch64",
        board="Raspberry Pi 5 Model B Rev 1.0",
        cpu_model="Arm Cortex-A76",
        cpu_features=("NEON", "ARM_FMA", "FP16_VA", "DOTPROD", "LLAMAFILE", "REPACK"),
        cores_physical=4,
        cores_logical=4,
        core_kinds=(CoreKind(name="all", cpus=(0, 1, 2, 3), max_mhz=2400.0),),
        affinity=None,
        cpu_quota=None,
        memory_bytes=8 << 30,
        memory_limit_bytes=None,
        page_bytes=16384,
        huge_pages="always",
        governor="performance",
        turbo=None,
        power_mode=None,
        thread_variables={},
        binding_version="0.3.36",
        llama_commit="c0ffee0",
        threading="openmp",
        backends=("CPU",),
        devices=(Device(name="CPU", description="Cortex-A76", kind="cpu"),),
    ),
    conditions=Conditions(
        mhz=2400.0,
        mhz_min=2400.0,
        temperature_c=48.3,
        throttle_count=0,
        load_1m=0.08,
        steal_ns=0,
        busy_ns=60_000_000_000,
        swap_used_bytes=0,
    ),
    details=Details(os_name="Debian GNU/Linux 12 (bookworm)", cpu_features=("NEON", "FP16_VA", "DOTPROD")),
    available_bytes=6 << 30,
    repacking_works=True,
    assertions=False,
)
_PARTS = ("environment", "conditions", "details")


def seen(**changes: Any) -> Seen:
    """Return the quiet device with some fields changed, in whichever of its parts they are."""
    parts: dict[str, Any] = {name: getattr(QUIET, name) for name in _PARTS}
    own = {}
    for field, value in changes.items():
        holders = [name for name in _PARTS if field in parts[name].__struct_fields__]
        if field == "cpu_features":  # what the build has; the CPU's own are cpu_has
            holders = ["environment"]
        if field == "cpu_has":
            holders, field = ["details"], "cpu_features"
        if not holders:
            own[field] = value
        for name in holders:
            parts[name] = msgspec.structs.replace(parts[name], **{field: value})
    return msgspec.structs.replace(QUIET, **parts, **own)


def diagnosis(of: Seen) -> Diagnosis:
    """Return doctor's diagnosis of a device without a power sensor and without a measured bandwidth."""
    return Diagnosis(
        seen=of,
        threads=(1, 2, 4),
        findings=tuple(advise(of)),
        meter=NoMeter("no sensor is here"),
        ceiling=None,
    )
