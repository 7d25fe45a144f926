"""The device and its build: everything that two runs must share to be comparable."""

import hashlib

import msgspec

from quant.base.ints import Int64

SCHEMA = 1  # raised when an older reader would misread a line


class CoreKind(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs that share a maximum frequency: performance and efficiency cores differ in it."""

    name: str  # "performance" | "efficiency" | "all"
    cpus: tuple[Int64, ...]  # logical CPU numbers
    max_mhz: float | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One ggml device as ggml describes it."""

    name: str
    description: str
    kind: str  # "cpu" | "gpu" | "igpu" | "accel"
    memory_bytes: Int64 | None = None


class Environment(msgspec.Struct, frozen=True, kw_only=True, tag="environment", tag_field="type"):
    """Everything that two runs must share to be comparable. No host name, no user name, no path."""

    schema: Int64 = SCHEMA
    system: str  # "Linux" | "Darwin" | "Windows"
    system_release: str
    machine: str  # "x86_64", "aarch64", "arm64"
    board: str | None  # "Raspberry Pi 5 Model B Rev 1.0", "MacBookAir10,1"
    cpu_model: str
    cpu_features: tuple[str, ...]  # as ggml was built for and sees them: "AVX2", "NEON", ...
    cores_physical: Int64
    cores_logical: Int64
    core_kinds: tuple[CoreKind, ...]
    affinity: tuple[Int64, ...] | None  # the CPUs this process may use, None where it may use all
    cpu_quota: float | None  # a container's limit in CPUs
    memory_bytes: Int64
    memory_limit_bytes: Int64 | None  # a container's limit
    page_bytes: Int64
    huge_pages: str | None
    governor: str | None
    turbo: bool | None
    power_mode: str | None  # Jetson nvpmodel, macOS low-power mode
    thread_variables: dict[str, str]  # OMP_*, GOMP_*, KMP_*, GGML_* that are set
    binding_version: str  # llama-cpp-python
    llama_commit: str
    threading: str  # "openmp" | "ggml"
    backends: tuple[str, ...]
    devices: tuple[Device, ...]

    @property
    def id(self) -> str:
        """Twelve hex digits of a hash of all fields: runs with different ids are not to be mixed."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]
