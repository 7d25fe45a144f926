"""The operator report: what `--json` writes and what the table shows."""

import msgspec

from profiler.operators.correct import constants_of
from profiler.operators.records import Observation, ObservationSettings
from profiler.operators.summary import Breakdown, break_down
from profiler.records.environment import Environment
from quant.base.text import counted
from quant.gguf_io.artifact import Artifact


class OperatorReport(msgspec.Struct, frozen=True, kw_only=True):
    """Where one file's time goes under one setting. Times are nanoseconds; no paths."""

    artifact_sha256: str
    env_id: str
    model: str
    arch: str
    level: str
    bpw: float
    n_params: int
    weights: str  # "real" | "synthetic"
    standin_for: str | None
    cpu_model: str
    llama_commit: str
    backends: tuple[str, ...]
    flash_attn: bool | None
    n_threads: int
    repack: bool
    reps: int
    ceiling_bytes_per_s: float | None
    phases: dict[str, Breakdown]
    n_params_active: int | None = None

    @property
    def threads(self) -> str:
        """The thread count in words."""
        return counted(self.n_threads, "thread")


def report_of(
    observation: Observation,
    artifact: Artifact,
    environment: Environment,
    settings: ObservationSettings,
    *,
    n_threads: int,
    repack: bool,
    ceiling_bytes_per_s: float | None = None,
) -> OperatorReport:
    """Derive the report from raw observations and facts about the file and the machine."""
    decode = constants_of(observation.decode)
    prefill = constants_of(observation.prefill)
    if n_threads > 1 and decode.n_joins:
        # Waking threads costs the same in both phases, but only decode has nodes small enough to show it.
        prefill = msgspec.structs.replace(prefill, threaded_ns=decode.threaded_ns, n_joins=decode.n_joins)
    phases = {
        "prefill": break_down(observation.prefill, prefill, ceiling_bytes_per_s),
        "decode": break_down(observation.decode, decode, ceiling_bytes_per_s),
    }
    return OperatorReport(
        artifact_sha256=artifact.sha256,
        env_id=environment.id,
        model=artifact.model,
        arch=artifact.arch,
        level=artifact.level,
        bpw=artifact.bpw,
        n_params=artifact.n_params,
        n_params_active=artifact.n_params_active,
        weights=artifact.weights,
        standin_for=artifact.standin_for,
        cpu_model=environment.cpu_model,
        llama_commit=environment.llama_commit,
        backends=observation.backends,
        flash_attn=observation.flash_attn,
        n_threads=n_threads,
        repack=repack,
        reps=settings.reps,
        ceiling_bytes_per_s=ceiling_bytes_per_s,
        phases=phases,
    )
