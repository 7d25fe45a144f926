"""From summaries to candidates: which cells compete with each other, and what each needs at a context."""

from collections.abc import Sequence

import msgspec

from profiler.analysis.kv_cache import padded_cells
from profiler.recommend.records import Z_95, Candidate
from profiler.records.cell_summary import AccuracyFigures, CellSummary
from profiler.records.span import Span
from profiler.tables.format import SETTINGS, clean, setting

# What may differ between two cells of one group besides file, threads and context.
_SETTINGS = {name: title for name, title in SETTINGS.items() if name not in ("n_ctx", "n_gpu_layers")}


def groups_of(summaries: Sequence[CellSummary], n_ctx: int | None) -> list[list[CellSummary]]:
    """Separate the cells that never compete with each other; without `n_ctx`, by context as well."""
    groups: dict[tuple[object, ...], list[CellSummary]] = {}
    for cell in summaries:
        key = (
            cell.env_id,
            cell.label,
            cell.kind,
            cell.config.device,
            cell.artifact.model,
            cell.artifact.arch,
            cell.artifact.n_params if cell.artifact.standin_family else None,
            cell.artifact.weights,
            cell.config.load,
            cell.config.n_ctx if n_ctx is None else None,
        )
        groups.setdefault(key, []).append(cell)
    return list(groups.values())


def nearest_context(group: Sequence[CellSummary], n_ctx: int | None) -> list[CellSummary]:
    """Of cells that differ in the context only, keep the one measured nearest to `n_ctx`."""
    if n_ctx is None:
        return list(group)
    kept: dict[tuple[object, ...], CellSummary] = {}
    for cell in group:
        key = (
            cell.artifact.sha256,
            cell.config.n_threads,
            cell.config.n_threads_batch,
            *(getattr(cell.config, name) for name in _SETTINGS),
        )
        known = kept.get(key)
        if known is None or (cell.status == "ok", -abs(cell.config.n_ctx - n_ctx)) > (
            known.status == "ok",
            -abs(known.config.n_ctx - n_ctx),
        ):
            kept[key] = cell
    return list(kept.values())


def candidates_of(group: Sequence[CellSummary], n_ctx: int | None, *, as_measured: bool = False) -> list[Candidate]:
    """Return the candidates of one group, in its order; `as_measured`: no allowance for disturbances."""
    settings = [name for name in _SETTINGS if len({getattr(cell.config, name) for cell in group}) > 1]
    names: dict[str, set[str]] = {}
    for cell in group:
        names.setdefault(cell.artifact.level, set()).add(cell.artifact.sha256)
    found = [_candidate(cell, n_ctx, settings, len(names[cell.artifact.level]) > 1) for cell in group]
    return [msgspec.structs.replace(each, reaches=None) for each in found] if as_measured else found


def _candidate(cell: CellSummary, n_ctx: int | None, settings: Sequence[str], twin: bool) -> Candidate:
    kld, ppl = cell.quality.kld, cell.quality.ppl
    memory, estimated = _memory(cell, n_ctx)
    name = clean(cell.artifact.level) + (" imatrix" if cell.artifact.imatrix_sha256 else "")
    return Candidate(
        cell_key=cell.cell_key,
        artifact_sha256=cell.artifact.sha256,
        quant=f"{name} {cell.artifact.sha256[:6]}" if twin else name,
        bpw=cell.artifact.bpw,
        file_bytes=cell.artifact.file_bytes,
        n_threads=cell.config.n_threads,
        n_threads_batch=cell.config.n_threads_batch,
        setting=", ".join(f"{_SETTINGS[name]} {setting(getattr(cell.config, name))}" for name in settings),
        n_ctx=n_ctx or cell.config.n_ctx,
        rounds=cell.rounds,
        decode_tps=cell.decode_tps,
        prefill_tps=cell.prefill_tps,
        ttft_ms=cell.ttft_ms,
        memory_bytes=memory,
        memory_estimated=estimated,
        kld=kld.value if kld else None,
        kld_se=kld.se if kld else None,
        ppl=ppl.value if ppl else None,
        accuracy=accuracy_spans(cell.accuracy),
        accuracy_loss=loss_span(cell.accuracy),
        flags=cell.flags,
        reaches=cell.reaches,
    )


def accuracy_spans(figures: AccuracyFigures) -> dict[str, Span]:
    """Return the accuracy in each task, with the fewest examples that it was asked with."""
    found: dict[str, Span] = {}
    for each in sorted(figures.by_task, key=lambda each: each.n_shots):
        value, reach = each.accuracy.value, Z_95 * each.accuracy.se
        found.setdefault(each.task, Span(value, value - reach, value + reach, "interval"))
    return found


def loss_span(figures: AccuracyFigures) -> Span | None:
    """Return what is lost against the unquantized file, which itself loses nothing."""
    return Span(0.0, 0.0, 0.0, "interval") if figures.is_reference else figures.loss


def _memory(cell: CellSummary, n_ctx: int | None) -> tuple[Span | None, bool]:
    """Return the model's peak at a context, and whether it is an estimate: the KV cache grows with its padded cells.

    Everything else stays as measured, the state of recurrent layers too. The estimate lacks the growth of the compute
    buffer, and is too large for layers with a sliding window, whose cache stops growing.
    """
    span = cell.model_rss_bytes
    if span is None:
        return None, False
    if n_ctx is None or padded_cells(n_ctx) == padded_cells(cell.config.n_ctx):
        return span, False
    if cell.memory.kv_cache_bytes is None:
        return None, False
    shape = cell.artifact.shape
    growing = max(0, cell.memory.kv_cache_bytes - (shape.state_bytes if shape else 0))
    more = round(growing * (padded_cells(n_ctx) / padded_cells(cell.config.n_ctx) - 1))
    return Span(span.value + more, span.lo + more, span.hi + more, span.kind), True
