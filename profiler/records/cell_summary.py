"""One cell's rounds as the figures that people compare: what show, export and every chart read."""

import msgspec


class CellSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Medians over rounds with 95 % intervals; the fields of `export --format json`, in its order.

    `_lo` and `_hi` are null under six rounds. A field that does not apply is null.
    """

    cell_key: str
    artifact_sha256: str
    env_id: str
    label: str | None
    model: str
    arch: str
    weights: str
    standin_for: str | None
    kind: str
    n_params: int
    quant: str
    imatrix: str | None
    bpw: float
    file_bytes: int
    device: str
    backend: str | None
    mode: str
    workload: str
    n_threads: int
    n_threads_batch: int
    n_prompt: int
    n_gen: int
    n_depth: int
    decode_depth: int
    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_outputs_max: int
    type_k: str
    type_v: str
    flash_attn: bool | None
    flash_attn_asked: str
    load_mode: str
    repack: bool
    status: str
    error: str | None
    rounds: int
    reps: int
    prefill_tps: float | None = None
    prefill_tps_lo: float | None = None
    prefill_tps_hi: float | None = None
    decode_tps: float | None = None
    decode_tps_lo: float | None = None
    decode_tps_hi: float | None = None
    ttft_ms: float | None = None
    ttft_ms_lo: float | None = None
    ttft_ms_hi: float | None = None
    itl_p50_ms: float | None = None
    itl_p95_ms: float | None = None
    itl_p99_ms: float | None = None
    load_ms: float | None = None
    peak_rss_bytes: int | None = None
    model_rss_bytes: int | None = None
    anon_bytes: int | None = None
    file_backed_bytes: int | None = None
    pss_bytes: int | None = None
    weights_bytes: int | None = None
    repacked_bytes: int | None = None
    kv_cache_bytes: int | None = None
    compute_buffer_bytes: int | None = None
    utilisation: float | None = None
    joules_per_token: float | None = None
    ppl: float | None = None
    ppl_se: float | None = None
    kld: float | None = None
    kld_se: float | None = None
    same_top: float | None = None
    text_sha256: str | None = None
    flags: tuple[str, ...] = ()
    # Beyond the contract: what tables and charts need where there is no interval.
    prefill_tps_min: float | None = None
    prefill_tps_max: float | None = None
    decode_tps_min: float | None = None
    decode_tps_max: float | None = None
    ttft_ms_min: float | None = None
    ttft_ms_max: float | None = None
    model_rss_bytes_min: int | None = None
    model_rss_bytes_max: int | None = None
    # Of profiler/analysis/memory_parts.py: what closes the sum of the memory's parts.
    mapped_bytes: int | None = None
    output_buffer_bytes: int | None = None
    compute_touched_bytes: int | None = None
    runtime_bytes: int | None = None
    remainder_bytes: int | None = None
    cores: tuple[int, ...] | None = None
    target: float | None = None  # the intervals are those of a stopping rule with this relative half-width
    prefill_outliers: tuple[int, ...] = ()  # numbers of rounds, from 0 as in the records
    decode_outliers: tuple[int, ...] = ()
    started_at: str | None = None
    n_gpu_layers: int = 0  # -1: all
    energy_source: str | None = None  # and how it is sampled
    energy_reason: str | None = None  # why there is no joules_per_token
    standin_family: str | None = None  # of a model that was measured in the shape of another family


def message_key(cell: CellSummary, flag: str) -> str:
    """Name a flag of a cell."""
    return f"{cell.cell_key}:{cell.env_id}:{flag}"
