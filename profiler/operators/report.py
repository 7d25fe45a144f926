"""One look at a model as a record: what `--json` writes and what the table is drawn from."""

import msgspec

from profiler.operators.correct import constants_of
from profiler.operators.records import Look, Seen
from profiler.operators.summary import Breakdown, break_down
from profiler.records.record import Environment
from quant.gguf_io.artifact import Artifact


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is told. Times are nanoseconds; no paths."""

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


def report_of(
    seen: Seen,
    artifact: Artifact,
    environment: Environment,
    look: Look,
    *,
    n_threads: int,
    repack: bool,
    ceiling_bytes_per_s: float | None = None,
) -> Report:
    """Put together what was seen and what it was seen of."""
    decode = constants_of(seen.decode)
    prefill = constants_of(seen.prefill)
    if n_threads > 1 and decode.n_joins:
        # Waking threads costs what it costs: the small nodes of a decode step show it, those of a prefill are large.
        prefill = msgspec.structs.replace(prefill, threaded_ns=decode.threaded_ns, n_joins=decode.n_joins)
    phases = {
        "prefill": break_down(seen.prefill, prefill, ceiling_bytes_per_s),
        "decode": break_down(seen.decode, decode, ceiling_bytes_per_s),
    }
    return Report(
        artifact_sha256=artifact.sha256,
        env_id=environment.id,
        model=artifact.model,
        arch=artifact.arch,
        level=artifact.level,
        bpw=artifact.bpw,
        n_params=artifact.n_params,
        weights=artifact.weights,
        standin_for=artifact.standin_for,
        cpu_model=environment.cpu_model,
        llama_commit=environment.llama_commit,
        backends=seen.backends,
        flash_attn=seen.flash_attn,
        n_threads=n_threads,
        repack=repack,
        reps=look.reps,
        ceiling_bytes_per_s=ceiling_bytes_per_s,
        phases=phases,
    )
