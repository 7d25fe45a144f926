"""From rounds to figures: the one place where rates, medians and intervals are derived.

The value of a round is the median over its repetitions; a cell's figure is the median over its rounds, with the
order-statistic interval of the rounds' values, adjusted where a stopping rule was in force. A cell is failed when its
latest try of some round failed, and keeps the figures of the rounds that went well.

Of a sustained load the last run counts, and the rates are those of its steady state. That the device is throttled or
becomes slower is what is measured there, and no flag.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from profiler.analysis.accuracy.figures import with_accuracy
from profiler.analysis.bandwidth_use import mbu_of
from profiler.analysis.flags import Warning, findings_of  # noqa: A004  the word that people search for
from profiler.analysis.joules import energy_in_words, joules_per_request_of, joules_per_token_of
from profiler.analysis.memory_parts import MemoryParts, memory_parts, model_rss_of, peak_rss_of
from profiler.analysis.quality_by_file import with_quality
from profiler.analysis.rates import rates_of, ttft_ms_of
from profiler.analysis.reach import reaches_of
from profiler.analysis.stats import median, outliers, quantiles_ns, span_of
from profiler.analysis.sustained.figures import sustained_of
from profiler.analysis.sustained.steady import last_run, steady_part
from profiler.records.cell_summary import CellSummary, EnergyFigures, MemoryFigures, TokenGaps, message_key
from profiler.records.environment import Environment
from profiler.records.round import Round
from profiler.records.span import Span
from profiler.results.file import Results
from profiler.results.kept import kept
from profiler.results.shares import find_in_cells, serve_shares
from quant.gguf_io.artifact import Artifact

_NS_PER_MS = 1e6
_GAPS = (0.5, 0.95, 0.99)
_SUSTAINED = ("throttled", "drifting")  # what a sustained load is to show


class Summarised(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A cell's figures, and what disturbed it."""

    summary: CellSummary
    warnings: tuple[Warning, ...]


def summarise(results: Results, *, label: str | None = None) -> list[CellSummary]:
    """Summarize every cell, smallest model and file first."""
    return summarise_and_warn(results, label=label)[0]


def summarise_and_warn(results: Results, *, label: str | None = None) -> tuple[list[CellSummary], dict[str, str]]:
    """Summarize every cell, and return also the text of each flag by `message_key` of cell and flag."""
    made = kept(results.key, "summaries", list[Summarised], lambda: find_in_cells(results, Summarised, summarise_cell))
    messages = {message_key(each.summary, warning.name): warning.message for each in made for warning in each.warnings}
    summaries = [each.summary for each in made]
    if label is not None:
        summaries = [msgspec.structs.replace(summary, label=label) for summary in summaries]
    return with_accuracy(with_quality(sorted(summaries, key=_sort_key), results), results), messages


def _sort_key(cell: CellSummary) -> tuple[object, ...]:
    return (
        cell.artifact.n_params,
        cell.artifact.model,
        cell.env_id,
        cell.config.mode != "separate",
        cell.config.n_prompt,
        cell.config.n_gen,
        cell.config.n_depth,
        cell.config.workload,
        cell.artifact.bpw,
        cell.artifact.level,
        cell.config.n_threads,
        cell.config.n_threads_batch,
        cell.cell_key,
    )


def summarise_cell(rounds: Sequence[Round], artifact: Artifact, environment: Environment | None) -> Summarised:
    """Derive the figures of one cell from its rounds."""
    first = rounds[0]
    is_sustained = first.cell.config.sustain_s > 0
    rounds = last_run(rounds)
    all_ok = [record for record in rounds if record.status == "ok"]
    ok = steady_part(all_ok) if is_sustained else all_ok
    in_force = ok[0].in_force if ok else None
    status = _status([record.status for record in rounds])
    bad = next((record for record in reversed(rounds) if record.status == status != "ok"), None)
    target = target_of(ok)
    rates = [rates_of(record) for record in ok]
    prefill_tps, prefill_outliers = _spread([each.prefill for each in rates], ok, target)
    decode_tps, decode_outliers = _spread([each.decode for each in rates], ok, target)
    ttft_ms, _ = _spread([ttft_ms_of(record) for record in ok], ok, target)
    split = [memory_parts(record) for record in all_ok]
    warnings, notes = findings_of(ok, environment, rates)
    if is_sustained:
        warnings, notes = ([each for each in found if each.name not in _SUSTAINED] for found in (warnings, notes))
    flags = tuple(warning.name for warning in warnings)
    summary = CellSummary(
        cell_key=first.cell.key,
        env_id=first.env_id,
        artifact=artifact,
        config=first.cell.config,
        status=status,
        rounds=len(ok),
        backend="+".join(in_force.backends) if in_force else None,
        flash_attn=in_force.flash_attn if in_force else None,
        error=bad.error.message if bad and bad.error else None,
        reps=max((len(record.samples) for record in ok), default=0),
        target=target,
        started_at=min((record.started_at for record in rounds), default=None),
        prefill_tps=prefill_tps,
        decode_tps=decode_tps,
        ttft_ms=ttft_ms,
        token_gaps=_token_gaps(ok),
        load_ms=_load_ms(all_ok),
        mbu=_median(
            [
                mbu_of(artifact, record, each.decode)
                for record, each in zip(ok, rates, strict=True)
                if record.read_ceiling_bytes_per_s
            ]
        ),
        model_rss_bytes=_model_rss(all_ok, split),
        memory=_memory_figures(all_ok, split),
        energy=_energy_figures(ok),
        flags=flags,
        notes=tuple(f"{note.name}, no flag: {note.message}" for note in notes),
        sustained=sustained_of(all_ok) if is_sustained else None,
        reaches=reaches_of(ok, environment, flags, rates, target),
        prefill_outliers=prefill_outliers,
        decode_outliers=decode_outliers,
    )
    return Summarised(summary=summary, warnings=tuple(warnings))


def target_of(rounds: Iterable[Round]) -> float | None:
    """Return the target that rounds of a cell were measured under, the loosest of several; None without one."""
    return max((record.target for record in rounds if record.target is not None), default=None)


def _status(statuses: Collection[str]) -> str:
    return next(status for status in ("failed", "skipped", "ok") if status in statuses)


def _token_gaps(ok: Sequence[Round]) -> TokenGaps | None:
    steps_ns = [sample.decode_ns for record in ok for sample in record.samples]
    if not any(steps_ns):
        return None
    return TokenGaps(*(gap_ns / _NS_PER_MS for gap_ns in quantiles_ns(steps_ns, _GAPS)))


def _model_rss(ok: Sequence[Round], split: Sequence[MemoryParts | None]) -> Span | None:
    values = [
        value
        for record, found in zip(ok, split, strict=True)
        if (value := found.model_rss_bytes if found else model_rss_of(record.memory)) is not None
    ]
    middle = _middle(values)
    return None if middle is None else Span(middle, min(values), max(values), "min-max")


def _memory_figures(ok: Sequence[Round], split: Sequence[MemoryParts | None]) -> MemoryFigures:
    lasts = [list(record.memory.values())[-1] for record in ok if record.memory]
    buffers = [record.buffers for record in ok if record.buffers]
    parts = [found for found in split if found]

    def last(name: str) -> int | None:
        return _middle([getattr(each, name) for each in lasts])

    def buffer(name: str) -> int | None:
        return _middle([getattr(each, name) for each in buffers])

    return MemoryFigures(
        peak_rss_bytes=_middle(
            [found.peak_bytes if found else peak_rss_of(record.memory) for record, found in zip(ok, split, strict=True)]
        ),
        anon_bytes=last("anon_bytes"),
        file_backed_bytes=last("file_backed_bytes"),
        pss_bytes=last("pss_bytes"),
        weights_bytes=buffer("weights_bytes"),
        repacked_bytes=buffer("repacked_bytes"),
        kv_cache_bytes=buffer("kv_cache_bytes"),
        compute_buffer_bytes=buffer("compute_bytes"),
        mapped_bytes=last("mapped_bytes"),
        output_buffer_bytes=buffer("output_bytes"),
        compute_touched_bytes=_middle([found.part("compute buffer").resident_bytes for found in parts]),
        runtime_bytes=_middle([found.part("runtime").resident_bytes for found in parts if found.runtime_known]),
        remainder_bytes=_middle([found.remainder_bytes for found in parts]),
    )


def _energy_figures(ok: Sequence[Round]) -> EnergyFigures:
    joules_per_token = _median([joules_per_token_of(record) for record in ok])
    source, reason = energy_in_words(ok, is_known=joules_per_token is not None)
    return EnergyFigures(
        joules_per_token=joules_per_token,
        joules_per_request=_median([joules_per_request_of(record) for record in ok]),
        source=source,
        reason=reason,
    )


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


def _spread(
    found: Sequence[float | None], rounds: Sequence[Round], target: float | None
) -> tuple[Span | None, tuple[int, ...]]:
    """Return the median of a figure over rounds with its range, and the numbers of the rounds that are outliers."""
    valued = [(record.round, value) for record, value in zip(rounds, found, strict=True) if value is not None]
    values = [value for _, value in valued]
    return span_of(values, target), tuple(valued[place][0] for place in outliers(values))


if __name__ == "__main__":
    serve_shares(summarise_cell)
