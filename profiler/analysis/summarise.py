"""From rounds to figures: the one place where rates, medians and intervals are derived.

The value of a round is the median over its repetitions; a cell's figure is the median over its rounds, with the
order-statistic interval of the rounds' values, adjusted where a stopping rule was in force. A cell is failed when its
latest try of some round failed, and keeps the figures of the rounds that went well.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from profiler.analysis.bandwidth_use import utilisation_of
from profiler.analysis.flags import Warning, flags_of  # noqa: A004  the word that people search for
from profiler.analysis.joules import energy_words_of, joules_per_token_of
from profiler.analysis.memory_parts import memory_parts, model_rss_of, peak_rss_of
from profiler.analysis.quality_by_file import with_quality
from profiler.analysis.rates import rates_of, ttft_ms_of
from profiler.analysis.stats import adjusted_interval, median, outliers, quantiles_ns
from profiler.records.cell_summary import CellSummary, message_key
from profiler.records.config import Cell
from profiler.records.record import Environment, Round
from profiler.results.file import Results
from profiler.results.percell import Task, map_cells
from profiler.results.stored import heads_of, places_of
from quant.gguf_io.artifact import Artifact

_NS_PER_MS = 1e6
_GAPS = (0.5, 0.95, 0.99)


class Summarised(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A cell's figures, and what disturbed it."""

    summary: CellSummary
    warnings: tuple[Warning, ...]


def summarise(results: Results, *, label: str | None = None) -> list[CellSummary]:
    """Summarize every cell, smallest model and file first."""
    return summarise_and_warn(results, label=label)[0]


def summarise_and_warn(results: Results, *, label: str | None = None) -> tuple[list[CellSummary], dict[str, str]]:
    """Summarize every cell; give also the text of each flag, by `message_key` of cell and flag."""
    made = map_cells(results, TASK)
    messages = {message_key(each.summary, warning.name): warning.message for each in made for warning in each.warnings}
    summaries = [each.summary for each in made]
    if label is not None:
        summaries = [msgspec.structs.replace(summary, label=label) for summary in summaries]
    return with_quality(sorted(summaries, key=_sort_key), results), messages


def outlines(results: Results) -> list[CellSummary]:
    """Give of every cell what is known before any round is decoded, in the same order: what it is, and no figures."""
    heads = heads_of(results.rounds)
    made = []
    for places in places_of(results.rounds).values():
        first, statuses = heads[places[0]], [heads[place].status for place in places]
        made.append(_outline(first.cell, first.env_id, statuses, results.artifacts[first.cell.artifact_sha256]))
    return sorted(made, key=_sort_key)


def _outline(cell: Cell, env_id: str, statuses: Sequence[str], artifact: Artifact) -> CellSummary:
    config = cell.config
    return CellSummary(
        cell_key=cell.key,
        artifact_sha256=artifact.sha256,
        env_id=env_id,
        label=None,
        model=artifact.model,
        arch=artifact.arch,
        weights=artifact.weights,
        standin_for=artifact.standin_for,
        standin_family=artifact.standin_family,
        kind="measured",
        n_params=artifact.n_params,
        quant=artifact.level,
        imatrix=artifact.imatrix_sha256,
        bpw=artifact.bpw,
        file_bytes=artifact.file_bytes,
        device=config.device,
        backend=None,
        mode=config.mode,
        workload=config.workload,
        n_threads=config.n_threads,
        n_threads_batch=config.n_threads_batch,
        n_prompt=config.n_prompt,
        n_gen=config.n_gen,
        n_depth=config.n_depth,
        decode_depth=config.decode_depth,
        n_ctx=config.n_ctx,
        n_batch=config.n_batch,
        n_ubatch=config.n_ubatch,
        n_outputs_max=config.n_outputs_max,
        type_k=config.type_k,
        type_v=config.type_v,
        flash_attn=None,
        flash_attn_asked=config.flash_attn,
        load_mode=config.load_mode,
        repack=config.repack,
        n_gpu_layers=config.n_gpu_layers,
        status=_status(statuses),
        error=None,
        rounds=statuses.count("ok"),
        reps=0,
        cores=config.cores,
    )


def _sort_key(cell: CellSummary) -> tuple[object, ...]:
    return (
        cell.n_params,
        cell.model,
        cell.env_id,
        cell.mode != "separate",
        cell.n_prompt,
        cell.n_gen,
        cell.n_depth,
        cell.workload,
        cell.bpw,
        cell.quant,
        cell.n_threads,
        cell.n_threads_batch,
        cell.cell_key,
    )


def _summarise_cell(rounds: Sequence[Round], artifact: Artifact, environment: Environment | None) -> Summarised:
    first = rounds[0]
    ok = [record for record in rounds if record.status == "ok"]
    in_force = ok[0].in_force if ok else None
    known = _outline(first.cell, first.env_id, [record.status for record in rounds], artifact)
    bad = next((record for record in reversed(rounds) if record.status == known.status != "ok"), None)
    gaps_ms = _gaps_ms(ok)
    target = target_of(ok)
    rates = [rates_of(record) for record in ok]
    prefill = _Spread([each.prefill for each in rates], ok, target)
    decode = _Spread([each.decode for each in rates], ok, target)
    ttft = _Spread([ttft_ms_of(record) for record in ok], ok, target)
    lasts = [list(record.memory.values())[-1] for record in ok if record.memory]
    buffers = [record.buffers for record in ok if record.buffers]

    def memory(name: str) -> int | None:
        return _middle([getattr(last, name) for last in lasts])

    def buffer(name: str) -> int | None:
        return _middle([getattr(each, name) for each in buffers])

    split = [memory_parts(record) for record in ok]
    parts = [found for found in split if found]
    rss = [
        value
        for record, found in zip(ok, split, strict=True)
        if (value := found.model_rss_bytes if found else model_rss_of(record.memory)) is not None
    ]
    warnings = flags_of(ok, environment, rates)
    joules_per_token = _median([joules_per_token_of(record) for record in ok])
    energy_source, energy_reason = energy_words_of(ok, is_known=joules_per_token is not None)
    summary = msgspec.structs.replace(
        known,
        backend="+".join(in_force.backends) if in_force else None,
        flash_attn=in_force.flash_attn if in_force else None,
        error=bad.error.message if bad and bad.error else None,
        reps=max((len(record.samples) for record in ok), default=0),
        prefill_tps=prefill.middle,
        prefill_tps_lo=prefill.lo,
        prefill_tps_hi=prefill.hi,
        prefill_tps_min=prefill.least,
        prefill_tps_max=prefill.most,
        decode_tps=decode.middle,
        decode_tps_lo=decode.lo,
        decode_tps_hi=decode.hi,
        decode_tps_min=decode.least,
        decode_tps_max=decode.most,
        ttft_ms=ttft.middle,
        ttft_ms_lo=ttft.lo,
        ttft_ms_hi=ttft.hi,
        ttft_ms_min=ttft.least,
        ttft_ms_max=ttft.most,
        itl_p50_ms=gaps_ms[0],
        itl_p95_ms=gaps_ms[1],
        itl_p99_ms=gaps_ms[2],
        load_ms=_load_ms(ok),
        peak_rss_bytes=_middle(
            [found.peak_bytes if found else peak_rss_of(record.memory) for record, found in zip(ok, split, strict=True)]
        ),
        model_rss_bytes=_middle(rss),
        model_rss_bytes_min=min(rss, default=None),
        model_rss_bytes_max=max(rss, default=None),
        anon_bytes=memory("anon_bytes"),
        file_backed_bytes=memory("file_backed_bytes"),
        pss_bytes=memory("pss_bytes"),
        weights_bytes=buffer("weights_bytes"),
        repacked_bytes=buffer("repacked_bytes"),
        kv_cache_bytes=buffer("kv_cache_bytes"),
        compute_buffer_bytes=buffer("compute_bytes"),
        utilisation=_median(
            [
                utilisation_of(artifact, record, each.decode)
                for record, each in zip(ok, rates, strict=True)
                if record.read_ceiling_bytes_per_s
            ]
        ),
        joules_per_token=joules_per_token,
        energy_source=energy_source,
        energy_reason=energy_reason,
        flags=tuple(warning.name for warning in warnings),
        mapped_bytes=memory("mapped_bytes"),
        output_buffer_bytes=buffer("output_bytes"),
        compute_touched_bytes=_middle([found.part("compute buffer").resident_bytes for found in parts]),
        runtime_bytes=_middle([found.part("runtime").resident_bytes for found in parts if found.runtime_known]),
        remainder_bytes=_middle([found.remainder_bytes for found in parts]),
        target=target,
        prefill_outliers=prefill.outliers,
        decode_outliers=decode.outliers,
        started_at=min((record.started_at for record in rounds), default=None),
    )
    return Summarised(summary=summary, warnings=tuple(warnings))


TASK = Task("summary", _summarise_cell, Summarised)


def target_of(rounds: Iterable[Round]) -> float | None:
    """Give the target that some rounds of a cell were measured under, the loosest of several; None where none was."""
    return max((record.target for record in rounds if record.target is not None), default=None)


def _status(statuses: Collection[str]) -> str:
    return next(status for status in ("failed", "skipped", "ok") if status in statuses)


def _gaps_ms(ok: Sequence[Round]) -> list[float] | list[None]:
    """Give the gaps between tokens that a half, 95 % and 99 % of them do not exceed."""
    steps_ns = [sample.decode_ns for record in ok for sample in record.samples]
    if not any(steps_ns):
        return [None, None, None]
    return [gap_ns / _NS_PER_MS for gap_ns in quantiles_ns(steps_ns, _GAPS)]


def _load_ms(ok: Sequence[Round]) -> float | None:
    load_ns = _median([record.load_ns for record in ok])
    return None if load_ns is None else load_ns / _NS_PER_MS


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _middle(values: Sequence[int | None]) -> int | None:
    if values and values.count(values[0]) == len(values):  # as most are
        return values[0]
    middle = _median(values)
    return None if middle is None else round(middle)


class _Spread:
    """A figure over rounds: median, interval where there are enough, smallest and largest, rounds that lie far out."""

    def __init__(self, found: Sequence[float | None], rounds: Sequence[Round], target: float | None) -> None:
        valued = [(record.round, value) for record, value in zip(rounds, found, strict=True) if value is not None]
        values = [value for _, value in valued]
        interval = adjusted_interval(values, target)
        self.middle = median(values) if values else None
        self.lo = interval.lo if interval else None
        self.hi = interval.hi if interval else None
        self.least = min(values, default=None)
        self.most = max(values, default=None)
        self.outliers = tuple(valued[place][0] for place in outliers(values))
