"""The environment of a run: what the system, the CPU and the installed llama.cpp are, as one record."""

import hashlib
import os
import platform

import msgspec

from profiler.device.llama_build import BackendFacts, probe_backend
from profiler.device.os.system import machine_stamp, this_system
from profiler.records.environment import Environment
from quant.base.errors import UserError
from quant.base.kept import KeptJson

__all__ = ["available_memory_bytes", "cores_of_kind", "physical_cores", "probe_backend", "read_environment"]

_THREAD_VARIABLES = ("OMP_", "GOMP_", "KMP_", "GGML_")
_OURS = {"GGML_NO_BACKTRACE"}  # set by this program for every worker


def read_environment(backend: BackendFacts) -> Environment:
    """Read everything that two runs must have in common to be comparable. The same machine leads to the same record."""
    machine = msgspec.structs.asdict(this_system().describe())
    cpu_name = machine.pop("cpu_name")
    return Environment(
        system=platform.system(),
        system_release=platform.release(),
        machine=platform.machine(),
        cpu_model=cpu_name or _cpu_model(),
        thread_variables={
            name: _without_paths(value)
            for name, value in sorted(os.environ.items())
            if name.startswith(_THREAD_VARIABLES) and name not in _OURS
        },
        **machine,
        **msgspec.structs.asdict(backend),
    )


def _without_paths(value: str) -> str:
    """Return a variable's value, or a hash of one that holds a path: records hold no paths and no user's name."""
    if not {"/", "\\"} & set(value):
        return value
    return f"path {hashlib.sha256(value.encode(errors='surrogateescape')).hexdigest()[:8]}"


def _cpu_model() -> str:
    """Return py-cpuinfo's name of the CPU. It takes a second, so the answer is kept for this CPU."""
    return KeptJson(f"cpu/{machine_stamp()}.json", str).read_or(_read_cpu_model)


def _read_cpu_model() -> str:
    import cpuinfo

    found = cpuinfo.get_cpu_info()
    return " ".join(str(found.get("brand_raw") or found.get("arch_string_raw") or platform.machine()).split())


def physical_cores() -> int:
    """Return the number of cores that this process can use: physical ones, within its affinity and cgroup limit."""
    machine = this_system().describe()
    usable = machine.cores_physical
    if machine.affinity is not None:  # some platforms count the cores of the whole machine
        usable = min(usable, len(machine.affinity))
    if machine.cpu_quota is not None:
        usable = min(usable, max(1, int(machine.cpu_quota)))
    return max(usable, 1)


def cores_of_kind(kind: str) -> tuple[int, ...]:
    """Return the CPUs of the fastest kind ("fast") that this process may use.

    Raises:
        UserError: the kind is unknown, or all cores are alike.
    """
    if kind != "fast":
        raise UserError(f"unknown --cores '{kind}'; write fast, or a list like 0-3")
    machine = this_system().describe()
    if len(machine.core_kinds) < 2:
        raise UserError(
            "all cores of this machine are of one kind, as far as the system reports; give --cores a list like 0-3"
        )
    allowed = {cpu for kind in machine.core_kinds for cpu in kind.cpus}
    if machine.affinity is not None:
        allowed &= set(machine.affinity)
    kinds = [cpus for kind in machine.core_kinds if (cpus := tuple(cpu for cpu in kind.cpus if cpu in allowed))]
    if len(kinds) < 2 and not allowed & set(machine.core_kinds[0].cpus):
        raise UserError("this process may use no fast core; omit --cores, or start it without taskset or a cpuset")
    return kinds[0]


def available_memory_bytes() -> int:
    """Return the memory that a new process can use, a container's limit included."""
    return this_system().available_bytes()
