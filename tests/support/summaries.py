"""Summaries made by hand, for what reads them: charts, tables, exports."""

import hashlib
from typing import Any

from profiler.export.flat import FIELDS, flat
from profiler.records.cell_summary import CellSummary, EnergyFigures, MemoryFigures, QualityFigures, TokenGaps
from profiler.records.config import RunConfig
from profiler.records.environment import Environment
from profiler.records.quality import Mean
from profiler.records.span import Span
from quant.gguf_io.artifact import Artifact

MIB = 1 << 20
_FIGURES = ("prefill_t", "decode_t", "ttft", "model_rss", "weights_b", "repacked_b", "kv_cache", "compute_b")


def environment(**changes: Any) -> Environment:
    """A board that does not exist."""
    fields: dict[str, Any] = {
        "system": "Linux",
        "system_release": "6.1",
        "machine": "aarch64",
        "board": "Test Board 5",
        "cpu_model": "Test CPU",
        "cpu_features": ("NEON",),
        "cores_physical": 4,
        "cores_logical": 4,
        "core_kinds": (),
        "affinity": None,
        "cpu_quota": None,
        "memory_bytes": 8 << 30,
        "memory_limit_bytes": None,
        "page_bytes": 4096,
        "huge_pages": None,
        "governor": None,
        "turbo": None,
        "power_mode": None,
        "thread_variables": {},
        "binding_version": "0",
        "llama_commit": "c0ffee",
        "threading": "openmp",
        "backends": ("CPU",),
        "devices": (),
    }
    return Environment(**(fields | changes))


ENVIRONMENT = environment()


def summary(**changes: Any) -> CellSummary:
    """A cell of six rounds in separate mode with some fields changed; one file per model and level."""
    fields: dict[str, Any] = {
        "env_id": ENVIRONMENT.id,
        "label": None,
        "model": "tiny",
        "arch": "llama",
        "weights": "real",
        "standin_for": None,
        "kind": "measured",
        "n_params": 100_000_000,
        "quant": "Q8_0",
        "imatrix": None,
        "bpw": 8.5,
        "file_bytes": 100 * MIB,
        "device": "cpu",
        "backend": "CPU",
        "mode": "separate",
        "workload": "bench",
        "n_threads": 1,
        "n_prompt": 512,
        "n_gen": 128,
        "n_depth": 0,
        "decode_depth": 0,
        "n_ctx": 768,
        "n_batch": 2048,
        "n_ubatch": 512,
        "n_outputs_max": 0,
        "type_k": "f16",
        "type_v": "f16",
        "flash_attn": True,
        "flash_attn_asked": "auto",
        "load_mode": "auto",
        "repack": True,
        "status": "ok",
        "error": None,
        "rounds": 6,
        "reps": 3,
        "prefill_tps": 200.0,
        "prefill_tps_lo": 160.0,
        "prefill_tps_hi": 250.0,
        "prefill_tps_min": 100.0,
        "prefill_tps_max": 400.0,
        "decode_tps": 20.0,
        "decode_tps_lo": 16.0,
        "decode_tps_hi": 25.0,
        "decode_tps_min": 10.0,
        "decode_tps_max": 40.0,
        "model_rss_bytes": 200 * MIB,
        "model_rss_bytes_min": 190 * MIB,
        "model_rss_bytes_max": 220 * MIB,
        "weights_bytes": 100 * MIB,
        "repacked_bytes": 50 * MIB,
        "kv_cache_bytes": 20 * MIB,
        "compute_buffer_bytes": 10 * MIB,
    }
    fields |= changes
    fields.setdefault("n_threads_batch", fields["n_threads"])
    fields.setdefault("artifact_sha256", _digest(fields["model"], fields["quant"], fields["weights"]))
    fields.setdefault("cell_key", _digest(*(str(fields[name]) for name in sorted(fields)))[:16])
    return _nested(fields)


def changed(cell: CellSummary, **changes: Any) -> CellSummary:
    """The cell with some fields changed, by their names in an export."""
    return _nested(flat(cell) | changes)


def _nested(fields: dict[str, Any]) -> CellSummary:
    """Build a cell from fields by their names in an export."""
    unknown = set(fields) - set(FIELDS)
    assert not unknown, f"no such fields: {unknown}"

    def under(group: str) -> dict[str, Any]:
        return {
            path.removeprefix(f"{group}."): fields[name]
            for name, path in FIELDS.items()
            if path.startswith(f"{group}.") and path.count(".") == 1 and name in fields
        }

    def mean(name: str) -> Mean | None:
        return Mean(value=fields[name], se=fields.get(f"{name}_se") or 0.0) if fields.get(name) is not None else None

    artifact, config, gaps = under("artifact"), under("config"), under("token_gaps")
    artifact["tensor_bytes"] = artifact.pop("bpw") * artifact["n_params"] / 8
    config.pop("decode_depth", None)  # which follows from the rest
    return CellSummary(
        artifact=Artifact(**({"file_name": f"{artifact['model']}.gguf", "tensor_types": {}} | artifact)),
        config=RunConfig(**({"cores": None, "swa_full": False, "n_gpu_layers": 0} | config)),
        memory=MemoryFigures(**under("memory")),
        energy=EnergyFigures(**under("energy")),
        quality=QualityFigures(
            ppl=mean("ppl"), kld=mean("kld"), same_top=fields.get("same_top"), text_sha256=fields.get("text_sha256")
        ),
        token_gaps=None
        if gaps.get("p95_ms") is None
        else TokenGaps(*(gaps.get(f"p{n}_ms", 0.0) for n in (50, 95, 99))),
        mbu=fields.get("utilisation"),
        **{name: _span(fields, name) for name in ("prefill_tps", "decode_tps", "ttft_ms", "model_rss_bytes")},
        **{name: fields[name] for name, path in FIELDS.items() if name == path and name in fields},
    )


def _span(fields: dict[str, Any], name: str) -> Span | None:
    value, lo, hi, least, most = (fields.get(f"{name}{end}") for end in ("", "_lo", "_hi", "_min", "_max"))
    if value is None:
        return None
    if lo is None or hi is None:
        return Span(value, value if least is None else least, value if most is None else most, "min-max")
    return Span(value, lo, hi, "interval", None if least is None or most is None else (least, most))


def request(**changes: Any) -> CellSummary:
    """A cell of a request: a time to first token, decode after its own prefill."""
    fields: dict[str, Any] = {
        "mode": "request",
        "workload": "chat",
        "n_prompt": 128,
        "decode_depth": 128,
        "n_ctx": 2048,
        "n_outputs_max": 1,
        "ttft_ms": 640.0,
        "ttft_ms_lo": 600.0,
        "ttft_ms_hi": 700.0,
        "ttft_ms_min": 500.0,
        "ttft_ms_max": 900.0,
    }
    return summary(**(fields | changes))


def failed(**changes: Any) -> CellSummary:
    """A cell none of whose rounds went well."""
    nothing = dict.fromkeys(name for name in FIELDS if name.startswith(_FIGURES))
    return summary(**({"status": "failed", "error": "killed", "rounds": 0, "reps": 0} | nothing | changes))


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
