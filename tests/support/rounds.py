"""Rounds and results made by hand, for what derives figures from them; numbers are chosen so that rates are even."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from profiler.records.environment import Environment
from profiler.records.failure import Failure
from profiler.records.round import Buffers, Conditions, InForce, Memory, Round, Sample
from profiler.results.file import Results
from quant.gguf_io.artifact import Artifact
from tests.support.cells import artifact, cell
from tests.support.summaries import ENVIRONMENT

MIB = 1 << 20
_NS_PER_MS = 1_000_000


def sample(
    prefill_ms: float | None = 60,
    decode_ms: Sequence[float] = (25, 25, 25, 25),
    choose_ms: float | None = None,
    before: Conditions | None = None,
    after: Conditions | None = None,
) -> Sample:
    """One repetition; of cells.config() it is a prefill at 100 tokens per second and a decode at 40."""
    return Sample(
        prefill_ns=_ns(prefill_ms),
        sample_ns=_ns(choose_ms),
        decode_ns=tuple(round(step * _NS_PER_MS) for step in decode_ms),
        before=before or Conditions(),
        after=after or Conditions(),
    )


def _ns(time_ms: float | None) -> int | None:
    return None if time_ms is None else round(time_ms * _NS_PER_MS)


def memory() -> dict[str, Memory]:
    """The five phases of a worker: 30 MiB before the model, a peak of 230 MiB, 210 MiB at the end."""
    sizes = {"imported": 30, "loaded": 180, "context": 200, "prefilled": 220, "decoded": 210}
    return {
        phase: Memory(
            rss_bytes=mib * MIB,
            anon_bytes=mib * MIB // 3,
            file_backed_bytes=mib * MIB - mib * MIB // 3,
            pss_bytes=mib * MIB - MIB,
            peak_rss_bytes=max(mib, 230 if phase == "decoded" else 0) * MIB,
        )
        for phase, mib in sizes.items()
    }


def a_round(index: int = 0, *samples: Sample, **changes: Any) -> Round:
    """A round that went well, of cells.cell(); without samples it has one of sample()."""
    fields: dict[str, Any] = {
        "env_id": ENVIRONMENT.id,
        "cell": cell(),
        "round": index,
        "status": "ok",
        "started_at": f"2025-01-01T00:{index:02}:00Z",
        "seed": 0,
        "order": index,
        "load_ns": 1_000 * _NS_PER_MS,
        "samples": samples or (sample(),),
        "memory": memory(),
        "buffers": Buffers(
            weights_bytes=100 * MIB,
            weights_mapped=True,
            repacked_bytes=50 * MIB,
            kv_cache_bytes=20 * MIB,
            compute_bytes=10 * MIB,
        ),
        "in_force": InForce(
            flash_attn=True,
            n_ctx=256,
            n_batch=256,
            n_ubatch=256,
            backends=("CPU",),
            n_layers_offloaded=0,
            threadpool=True,
            bos_added=True,
        ),
    }
    return Round(**(fields | changes))


def no_round(index: int = 0, status: str = "failed", message: str = "it broke", **changes: Any) -> Round:
    """A round without samples, and why."""
    empty = {"load_ns": None, "samples": (), "memory": {}, "buffers": None, "in_force": None}
    error = Failure(kind="memory" if status == "skipped" else "abort", message=message)
    return a_round(index, **(empty | {"status": status, "error": error} | changes))


def with_cell(record: Round, sha256: str = "a" * 64, **changes: Any) -> Round:
    """The same round of another file or setting."""
    return msgspec.structs.replace(record, cell=cell(sha256, **changes))


def results(
    *rounds: Round, artifacts: Sequence[Artifact] = (), environments: Sequence[Environment] = (ENVIRONMENT,)
) -> Results:
    """Return the contents of a results file with these rounds; missing artifacts are invented."""
    known = {record.cell.artifact_sha256: artifact(record.cell.artifact_sha256) for record in rounds}
    return Results(
        environments={each.id: each for each in environments},
        artifacts=known | {each.sha256: each for each in artifacts},
        rounds=list(rounds),
    )


def write_lines(path: Path, *records: Environment | Artifact | Round) -> Path:
    """Write a results file without the program's own writer."""
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    return path
