"""Summaries made by hand, for what reads them: charts, tables, exports."""

import hashlib
from typing import Any

from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment

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
    return CellSummary(**fields)


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
    nothing = dict.fromkeys(name for name in CellSummary.__struct_fields__ if name.startswith(_FIGURES))
    return summary(**({"status": "failed", "error": "killed", "rounds": 0, "reps": 0} | nothing | changes))


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
