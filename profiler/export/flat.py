"""JSON and CSV: one flat object or line per cell. The names here and their order are what scripts rely on."""

import csv
import io
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import msgspec

from profiler.records.cell_summary import CellSummary, Sustained
from quant.base.text import pretty_json, printable

# Flat name -> where it is in a CellSummary. `_lo` and `_hi` are those of an interval, null under six rounds.
FIELDS = {
    "cell_key": "cell_key",
    "artifact_sha256": "artifact.sha256",
    "env_id": "env_id",
    "label": "label",
    "model": "artifact.model",
    "arch": "artifact.arch",
    "weights": "artifact.weights",
    "standin_for": "artifact.standin_for",
    "kind": "kind",
    "n_params": "artifact.n_params",
    "quant": "artifact.level",
    "imatrix": "artifact.imatrix_sha256",
    "bpw": "artifact.bpw",
    "file_bytes": "artifact.file_bytes",
    "device": "config.device",
    "backend": "backend",
    "mode": "config.mode",
    "workload": "config.workload",
    "n_threads": "config.n_threads",
    "n_threads_batch": "config.n_threads_batch",
    "n_prompt": "config.n_prompt",
    "n_gen": "config.n_gen",
    "n_depth": "config.n_depth",
    "decode_depth": "config.decode_depth",
    "n_ctx": "config.n_ctx",
    "n_batch": "config.n_batch",
    "n_ubatch": "config.n_ubatch",
    "n_outputs_max": "config.n_outputs_max",
    "type_k": "config.type_k",
    "type_v": "config.type_v",
    "flash_attn": "flash_attn",
    "flash_attn_asked": "config.flash_attn",
    "load_mode": "config.load_mode",
    "repack": "config.repack",
    "status": "status",
    "error": "error",
    "rounds": "rounds",
    "reps": "reps",
    "prefill_tps": "prefill_tps.value",
    "prefill_tps_lo": "prefill_tps.interval_lo",
    "prefill_tps_hi": "prefill_tps.interval_hi",
    "decode_tps": "decode_tps.value",
    "decode_tps_lo": "decode_tps.interval_lo",
    "decode_tps_hi": "decode_tps.interval_hi",
    "ttft_ms": "ttft_ms.value",
    "ttft_ms_lo": "ttft_ms.interval_lo",
    "ttft_ms_hi": "ttft_ms.interval_hi",
    "itl_p50_ms": "token_gaps.p50_ms",
    "itl_p95_ms": "token_gaps.p95_ms",
    "itl_p99_ms": "token_gaps.p99_ms",
    "load_ms": "load_ms",
    "peak_rss_bytes": "memory.peak_rss_bytes",
    "model_rss_bytes": "model_rss_bytes.value",
    "anon_bytes": "memory.anon_bytes",
    "file_backed_bytes": "memory.file_backed_bytes",
    "pss_bytes": "memory.pss_bytes",
    "weights_bytes": "memory.weights_bytes",
    "repacked_bytes": "memory.repacked_bytes",
    "kv_cache_bytes": "memory.kv_cache_bytes",
    "compute_buffer_bytes": "memory.compute_buffer_bytes",
    "utilisation": "mbu",
    "joules_per_token": "energy.joules_per_token",
    "ppl": "quality.ppl.value",
    "ppl_se": "quality.ppl.se",
    "kld": "quality.kld.value",
    "kld_se": "quality.kld.se",
    "same_top": "quality.same_top",
    "text_sha256": "quality.text_sha256",
    "flags": "flags",
    "n_params_active": "artifact.n_params_active",
    "prefill_tps_min": "prefill_tps.least",
    "prefill_tps_max": "prefill_tps.most",
    "decode_tps_min": "decode_tps.least",
    "decode_tps_max": "decode_tps.most",
    "ttft_ms_min": "ttft_ms.least",
    "ttft_ms_max": "ttft_ms.most",
    "model_rss_bytes_min": "model_rss_bytes.least",
    "model_rss_bytes_max": "model_rss_bytes.most",
    "mapped_bytes": "memory.mapped_bytes",
    "output_buffer_bytes": "memory.output_buffer_bytes",
    "compute_touched_bytes": "memory.compute_touched_bytes",
    "runtime_bytes": "memory.runtime_bytes",
    "remainder_bytes": "memory.remainder_bytes",
    "cores": "config.cores",
    "target": "target",
    "prefill_outliers": "prefill_outliers",
    "decode_outliers": "decode_outliers",
    "started_at": "started_at",
    "n_gpu_layers": "config.n_gpu_layers",
    "energy_source": "energy.source",
    "energy_reason": "energy.reason",
    "standin_family": "artifact.standin_family",
    "file_name": "artifact.file_name",
    "general_name": "artifact.general_name",
    "quality_n_ctx": "quality.n_ctx",
    "reference_sha256": "quality.reference_sha256",
    "joules_per_request": "energy.joules_per_request",
    "accuracy": "accuracy.mean.value",
    "accuracy_se": "accuracy.mean.se",
    "accuracy_loss": "accuracy.loss.value",
    "accuracy_loss_lo": "accuracy.loss.lo",
    "accuracy_loss_hi": "accuracy.loss.hi",
    "accuracy_tasks": "accuracy.tasks",
    "sustain_s": "config.sustain_s",
    "steady_from_s": "sustained.steady_from_s",
    "steady": "sustained.is_steady",
    "first_minute_prefill_tps": "sustained.first.prefill_tps",
    "first_minute_decode_tps": "sustained.first.decode_tps",
    "steady_decode_change": "sustained.decode_change.value",
    "steady_decode_change_lo": "sustained.decode_change.interval_lo",
    "steady_decode_change_hi": "sustained.decode_change.interval_hi",
    "steady_mhz": "sustained.steady.mhz",
    "steady_temperature_c": "sustained.steady.temperature_c",
    "steady_watts": "sustained.steady.watts",
}
# A spreadsheet runs what begins with one of these, also where they are of full width.
# Source: OWASP, "CSV Injection".
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


_read = attrgetter(*FIELDS.values())


class _Nothing:
    """In the place of a figure that does not apply: all of its fields are None."""

    def __getattr__(self, name: str) -> None:
        return None


_NOTHING: Any = _Nothing()
_NOT_SUSTAINED: Any = SimpleNamespace(
    steady_from_s=None, is_steady=None, first=_NOTHING, steady=_NOTHING, decode_change=_NOTHING
)


def flat(cell: CellSummary) -> dict[str, object]:
    """Return the fields of a cell under their flat names; None where one does not apply."""
    return dict(zip(FIELDS, _values(cell), strict=True))


def _values(cell: CellSummary) -> tuple[object, ...]:
    quality, accuracy = cell.quality, cell.accuracy
    filled = msgspec.structs.replace(
        cell,
        prefill_tps=cell.prefill_tps or _NOTHING,
        decode_tps=cell.decode_tps or _NOTHING,
        ttft_ms=cell.ttft_ms or _NOTHING,
        token_gaps=cell.token_gaps or _NOTHING,
        model_rss_bytes=cell.model_rss_bytes or _NOTHING,
        sustained=_filled(cell.sustained),
        accuracy=msgspec.structs.replace(
            accuracy, mean=accuracy.mean or _NOTHING, loss=accuracy.loss or _NOTHING, tasks=accuracy.tasks or None
        ),
        quality=msgspec.structs.replace(quality, ppl=quality.ppl or _NOTHING, kld=quality.kld or _NOTHING),
    )
    return _read(filled)


def _filled(sustained: Sustained | None) -> Any:
    if sustained is None:
        return _NOT_SUSTAINED
    return msgspec.structs.replace(sustained, decode_change=sustained.decode_change or _NOTHING)


def to_json(summaries: Sequence[CellSummary]) -> str:
    """Write a flat list of objects."""
    return pretty_json([flat(cell) for cell in summaries]) + "\n"


def to_csv(summaries: Sequence[CellSummary]) -> str:
    """Write one line per cell under a line of names; empty where nothing applies, lists joined by semicolons."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows(map(csv_value, _values(cell)) for cell in summaries)
    return text.getvalue()


def csv_value(value: object) -> object:
    """Make a value safe for a spreadsheet: no formula, no second line, nothing where nothing applies."""
    if isinstance(value, str):
        return _safe_text(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ";".join(str(each) for each in value)
    return value


@lru_cache  # most texts repeat from row to row
def _safe_text(text: str) -> str:
    # A carriage return alone would begin a new line: not every csv writer puts it in quotes.
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
