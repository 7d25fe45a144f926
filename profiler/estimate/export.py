"""Estimates in the fields of `export --format json`; fields of measurements are null."""

from collections.abc import Sequence
from typing import Any

from profiler.estimate.estimate import Estimate
from profiler.export.flat import FIELDS

_SETTINGS = (
    *("device", "n_threads", "n_threads_batch", "n_ctx", "n_batch", "n_ubatch", "n_outputs_max"),
    *("type_k", "type_v", "load_mode", "repack"),
)


def to_objects(
    estimates: Sequence[Estimate], *, env_id: str, available_bytes: int, read_bytes_per_s: float | None
) -> list[dict[str, Any]]:
    """Return one flat object for each estimate."""
    return [_object(each, env_id, available_bytes, read_bytes_per_s) for each in estimates]


def _object(each: Estimate, env_id: str, available_bytes: int, read_bytes_per_s: float | None) -> dict[str, Any]:
    config, sizes, level = each.config, each.sizes, each.level
    known: dict[str, Any] = {
        "env_id": env_id,
        "model": each.model,
        "arch": sizes.arch,
        "weights": sizes.weights,
        "standin_for": sizes.standin_for,
        "standin_family": sizes.standin_family,
        "kind": "estimated",
        "n_params": level.n_params,
        "n_params_active": level.n_params_active,
        "quant": level.level,
        "imatrix": "assumed" if level.with_imatrix else None,
        "bpw": each.bpw,
        "file_bytes": each.file_bytes,
        "backend": "CPU",
        **{name: getattr(config, name) for name in _SETTINGS},
        "flash_attn": each.context.flash_attn,
        "flash_attn_asked": config.flash_attn,
        "status": "ok",
        "rounds": 0,
        "reps": 0,
        "model_rss_bytes": each.model_rss_bytes,
        "weights_bytes": each.weights_bytes,
        "repacked_bytes": level.repacked_bytes,
        "kv_cache_bytes": each.context.kv_cache_bytes,
        "compute_buffer_bytes": each.context.compute_bytes,
        "flags": [],
        "output_buffer_bytes": each.context.output_bytes,
        "compute_touched_bytes": sizes.touched_bytes,
        "runtime_bytes": each.runtime_bytes,
        "prefill_outliers": [],
        "decode_outliers": [],
        "n_gpu_layers": 0,
        **_speeds(each),
    }
    own = {
        "tensor_bytes": level.tensor_bytes,
        "tensor_types": level.types,
        "needs_imatrix": level.needs_imatrix,
        "need_bytes": each.need_bytes,
        "fits": each.fits(available_bytes),
        "decode_tps_limit": each.decode_tps_limit(read_bytes_per_s) if read_bytes_per_s else None,
    }
    return dict.fromkeys(FIELDS) | known | own


def _speeds(each: Estimate) -> dict[str, Any]:
    """Return the predicted speeds, each with the ends of its 90 % range, and the load that they are of."""
    if each.speeds is None:
        return {}
    load = each.speeds.load
    of_load = {
        "mode": "request" if load.is_request else "separate",
        **{name: getattr(load, name) for name in ("workload", "n_prompt", "n_gen", "n_depth")},
    }
    spans = {"prefill_tps": each.speeds.prefill_tps, "decode_tps": each.speeds.decode_tps}
    if each.speeds.ttft_ms is not None:
        spans["ttft_ms"] = each.speeds.ttft_ms
    return of_load | {
        f"{name}{end}": value
        for name, span in spans.items()
        for end, value in (("", span.value), ("_lo", span.lo), ("_hi", span.hi))
    }
