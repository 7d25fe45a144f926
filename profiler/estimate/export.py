"""Estimates in the fields of `export --format json`; what only a measurement has is null."""

from collections.abc import Sequence
from typing import Any

import msgspec

from profiler.estimate.estimate import Estimate
from profiler.records.cell_summary import CellSummary

_ONLY_MEASURED = ("cell_key", "artifact_sha256", "workload", "mode", "n_prompt", "n_gen", "n_depth", "decode_depth")


def to_objects(
    estimates: Sequence[Estimate], *, env_id: str, room_bytes: int, read_bytes_per_s: float | None
) -> list[dict[str, Any]]:
    """Give one flat object for each estimate."""
    return [_object(each, env_id, room_bytes, read_bytes_per_s) for each in estimates]


def _object(each: Estimate, env_id: str, room_bytes: int, read_bytes_per_s: float | None) -> dict[str, Any]:
    config, sizes, level = each.config, each.sizes, each.level
    summary = CellSummary(
        cell_key="",
        artifact_sha256="",
        env_id=env_id,
        label=None,
        model=each.model,
        arch=sizes.arch,
        weights=sizes.weights,
        standin_for=sizes.standin_for,
        standin_family=sizes.standin_family,
        kind="estimated",
        n_params=level.n_params,
        quant=level.level,
        imatrix="assumed" if level.with_imatrix else None,
        bpw=each.bpw,
        file_bytes=each.file_bytes,
        device=config.device,
        backend="CPU",
        mode="",
        workload="",
        n_threads=config.n_threads,
        n_threads_batch=config.n_threads_batch,
        n_prompt=0,
        n_gen=0,
        n_depth=0,
        decode_depth=0,
        n_ctx=config.n_ctx,
        n_batch=config.n_batch,
        n_ubatch=config.n_ubatch,
        n_outputs_max=config.n_outputs_max,
        type_k=config.type_k,
        type_v=config.type_v,
        flash_attn=each.context.flash_attn,
        flash_attn_asked=config.flash_attn,
        load_mode=config.load_mode,
        repack=config.repack,
        status="ok",
        error=None,
        rounds=0,
        reps=0,
        model_rss_bytes=each.model_rss_bytes,
        weights_bytes=each.weights_bytes,
        repacked_bytes=level.repacked_bytes,
        kv_cache_bytes=each.context.kv_cache_bytes,
        compute_buffer_bytes=each.context.compute_bytes,
        output_buffer_bytes=each.context.output_bytes,
        compute_touched_bytes=each.touched_bytes,
        runtime_bytes=each.runtime_bytes,
    )
    fields: dict[str, Any] = msgspec.to_builtins(summary)
    own = {
        "tensor_bytes": level.tensor_bytes,
        "tensor_types": level.types,
        "needs_imatrix": level.needs_imatrix,
        "need_bytes": each.need_bytes,
        "fits": each.fits(room_bytes),
        "decode_tps_limit": each.decode_tps_limit(read_bytes_per_s) if read_bytes_per_s else None,
    }
    return fields | dict.fromkeys(_ONLY_MEASURED) | own
