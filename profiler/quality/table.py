"""The quality tables: one per reference, text and windows, the most bits per weight first."""

from collections.abc import Mapping, Sequence
from math import floor, log10

from profiler.analysis.quality_by_file import comparable, settled
from profiler.quality.figures import exponential
from profiler.records.config import CACHE_TYPES, F16_CACHE, KvTypes
from profiler.records.quality import Mean, QualityRecord
from profiler.results.file import Results
from profiler.tables.format import aligned, clean, level_names
from quant.base.units import format_bytes, format_params
from quant.gguf_io.artifact import Artifact

_HEAD = ("level", "bpw", "file", "perplexity", "ratio", "KLD", "90 %", "99 %", "max", "same top", "Δp RMS")


def quality_table(results: Results) -> str:
    """Return the tables; empty where nothing was scored."""
    groups: dict[tuple[object, ...], list[tuple[Artifact, QualityRecord]]] = {}
    for record in settled(results):
        artifact = results.artifacts[record.artifact_sha256]
        # A pick's records are of as many windows as each file needed.
        part = "adaptive" if record.adaptive else record.n_chunks_asked
        key = (record.reference_sha256 or artifact.model, record.text_sha256, record.n_ctx, part)
        groups.setdefault(key, []).append((artifact, record))
    blocks = [_block(group, results) for group in groups.values()]
    found = comparable(results)
    blocks += [f"{note}\n" for note in (found.problem, found.left_out) if note]
    return "\n".join(blocks)


def _block(group: Sequence[tuple[Artifact, QualityRecord]], results: Results) -> str:
    names = level_names(artifact for artifact, _ in group)
    if len({artifact.model for artifact, _ in group}) > 1:
        names = {artifact.sha256: f"{clean(artifact.model)} {names[artifact.sha256]}" for artifact, _ in group}
    ordered = sorted(group, key=lambda pair: (-pair[0].bpw, pair[0].level, pair[0].sha256, _coarseness(pair[1].cache)))
    _, record = ordered[0]
    artifact = results.artifacts.get(record.reference_sha256 or "", ordered[0][0])
    scored = next((each for _, each in ordered if each.perplexity is not None), None)
    model, text = clean(artifact.model), clean(record.text_name)
    size = format_params(artifact.n_params, artifact.n_params_active)
    title = f"{model} ({size}), quality on {text} ({clean(record.text_sha256[:8])})"
    lines = [f"## {title}", ""]
    if scored is not None and scored.perplexity is not None:
        counts = sorted({each.n_chunks for _, each in ordered if each.perplexity is not None})
        tokens = sorted({each.perplexity.n_scored for _, each in ordered if each.perplexity is not None})
        halves = f"the second halves of {_span(counts)} windows of {scored.n_ctx}"
        lines += [f"{_span(tokens)} tokens scored, {halves}; ± standard error", ""]
    rows = [_HEAD, *(_row(*pair, names) for pair in ordered)]
    if any(each.cache != F16_CACHE for _, each in ordered):
        caches = ["KV cache", *(clean(str(each.cache)) for _, each in ordered)]
        rows = [(row[0], cache, *row[1:]) for row, cache in zip(rows, caches, strict=True)]
    lines += [*aligned(rows, last_left=False), ""]
    return "\n".join([*lines, *_notes(ordered, results), ""])


def _coarseness(cache: KvTypes) -> tuple[float, KvTypes]:
    """Return by what caches are ordered: the most bytes first."""
    known = (CACHE_TYPES[kind].bytes_per_element for kind in cache if kind in CACHE_TYPES)
    return -sum(known), cache


def _span(counts: Sequence[int]) -> str:
    return str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _row(artifact: Artifact, record: QualityRecord, names: Mapping[str, str]) -> list[str]:
    row = [names[artifact.sha256], f"{artifact.bpw:.2f}", format_bytes(artifact.file_bytes)]
    if record.perplexity is None:
        return [*row, record.status.upper(), *[""] * (len(_HEAD) - len(row) - 1)]
    row.append(_with_error(record.perplexity.ppl))
    found = record.divergence
    if found is None:
        return [*row, *[""] * (len(_HEAD) - len(row))]
    if record.artifact_sha256 == record.reference_sha256 and record.cache == F16_CACHE:
        return [*row, "1", "0", *[""] * (len(_HEAD) - len(row) - 2)]
    return [
        *row,
        _with_error(exponential(found.log_ppl_ratio)),
        _with_error(found.kld),
        f"{found.kld_p90:.2g}",
        f"{found.kld_p99:.2g}",
        f"{found.kld_max:.2g}",
        _share(found.same_top),
        _share(found.dp_rms),
    ]


def _with_error(found: Mean) -> str:
    """Return a figure rounded to the second digit of its error."""
    if found.se <= 0 or not 1e-12 < abs(found.value) < 1e12 or not 1e-12 < found.se < 1e12:
        return f"{found.value:.4g} ± {found.se:.2g}"
    digits = max(0, 1 - floor(log10(found.se)))
    if digits > 7:
        return f"{found.value:.2e} ± {found.se:.1e}"
    return f"{found.value:.{digits}f} ± {found.se:.{digits}f}"


def _share(found: Mean) -> str:
    return f"{_with_error(Mean(value=100 * found.value, se=100 * found.se))} %"


def _notes(group: Sequence[tuple[Artifact, QualityRecord]], results: Results) -> list[str]:
    references = {record.reference_sha256 for _, record in group if record.divergence is not None}
    names = [
        f"{clean(results.artifacts[each].level)} (sha256 {each[:8]}…)"
        for each in references
        if each and each in results.artifacts
    ]
    notes = ["perplexity: comparable within a model, or between models with the same tokenizer."]
    if len({record.n_chunks for _, record in group if record.perplexity is not None}) > 1:
        notes = ["perplexity: of different parts of the text, and not comparable; its ratio and KLD are."]
    if names:
        notes += [
            f"against {' and '.join(names)} with an f16 KV cache;",
            "ratio: of the perplexities; KLD: KL divergence, nats per token;",
            "same top: how often the most probable token is the same; Δp: change of the right token's probability.",
        ]
    else:
        notes.append("there is no model to compare with.")
    for artifact, record in group:
        if record.error is not None:
            cache = "" if record.cache == F16_CACHE else f", KV cache {record.cache},"
            notes.append(f"{clean(f'{artifact.level}{cache}')} {record.status}: {clean(record.error.message)}")
    return [f"- {note}" for note in notes]
