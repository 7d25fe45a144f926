"""Quality next to speed: the scores of a results file on one text, by model file and KV cache."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from profiler.records.cell_summary import CellSummary, QualityFigures
from profiler.records.config import KvTypes
from profiler.records.quality import QualityRecord
from profiler.results.file import Results

Scored = tuple[str, KvTypes]  # a file's sha256, and the KV cache that it was scored with


class Comparable(msgspec.Struct, frozen=True, kw_only=True):
    """The records that may be compared, or why there are none."""

    records: dict[Scored, QualityRecord] = {}
    problem: str | None = None  # why there are none
    left_out: str | None = None  # what was scored too, and cannot be compared with these


def settled(results: Results) -> list[QualityRecord]:
    """Return the records, without those that another of the same file makes superfluous.

    These are one without a reference where there is one with it, and a pick's of fewer windows.
    """
    compared = {_without_reference(record) for record in results.qualities if record.divergence is not None}
    most: dict[object, int] = {}
    for record in results.qualities:
        most[_file_and_text(record)] = max(most.get(_file_and_text(record), 0), record.n_chunks)
    return [
        record
        for record in results.qualities
        if (record.reference_sha256 is not None or _without_reference(record) not in compared)
        and not (record.adaptive and record.n_chunks < most[_file_and_text(record)])
    ]


def _file_and_text(record: QualityRecord) -> tuple[object, ...]:
    return *_scored(record), record.text_sha256, record.n_ctx, record.reference_sha256


def _scored(record: QualityRecord) -> Scored:
    return record.artifact_sha256, record.cache


def _without_reference(record: QualityRecord) -> tuple[object, ...]:
    return record.key[:-1]


def comparable(results: Results) -> Comparable:
    """Return the ok records of one text in the same windows, and of each model against one reference.

    Of several ways to cut the text the one counts in which the most files and KV caches were scored, of equally many
    the one with the longest windows. A pick's records are of more or fewer windows from the beginning of one text:
    their errors show it. They count where nothing else was scored.
    """
    scored = [record for record in settled(results) if record.status == "ok"]
    scored = [record for record in scored if not record.adaptive] or scored
    if (n_texts := len({record.text_sha256 for record in scored})) > 1:
        return Comparable(
            problem=f"quality was measured on {n_texts} texts, which cannot be compared: no cell shows it; "
            "keep such results in files of their own"
        )
    windows: dict[tuple[int, int | None], list[QualityRecord]] = {}
    for record in scored:
        windows.setdefault((record.n_ctx, _part_of(record)), []).append(record)
    if not windows:
        return Comparable()
    chosen = max(windows, key=lambda cut: (len({_scored(each) for each in windows[cut]}), cut[0], cut[1] or 0))
    records = _of_one_reference(windows[chosen], results)
    left_out = None
    if len(windows) > 1:
        left_out = (
            "quality was measured on one text, cut into other windows, which cannot be compared: "
            f"cells show it in windows of {chosen[0]} tokens"
        )
        if n_others := len({_scored(record) for record in scored} - records.keys()):
            left_out += f"; {n_others} of the files, or of their KV caches, were not scored in these"
    return Comparable(records=records, left_out=left_out)


def _of_one_reference(records: Sequence[QualityRecord], results: Results) -> dict[Scored, QualityRecord]:
    """Return a record per file and KV cache, each model's against the reference that most were compared with.

    Of equally many references the last counts. What was compared with another has its perplexity alone.
    """
    counts: dict[str, Counter[str]] = {}
    models = {sha256: artifact.model for sha256, artifact in results.artifacts.items()}
    for record in records:
        if record.divergence is not None and record.reference_sha256 is not None:
            found = counts.setdefault(models[record.artifact_sha256], Counter())
            # The last of equally many is to come first.
            found[record.reference_sha256] = found.pop(record.reference_sha256, 0) + 1
    chosen = {model: max(reversed(found), key=found.__getitem__) for model, found in counts.items()}
    kept: dict[Scored, QualityRecord] = {}
    for record in records:
        if record.reference_sha256 == chosen.get(models[record.artifact_sha256]):
            kept[_scored(record)] = record
        else:
            kept.setdefault(_scored(record), msgspec.structs.replace(record, divergence=None))
    return kept


def _part_of(record: QualityRecord) -> int | None:
    """Return how many windows of the text were scored; None for all, or as many as a pick needed."""
    requested = record.n_chunks_asked
    is_whole = requested is None or record.adaptive or record.n_chunks < requested
    return None if is_whole else record.n_chunks


def with_quality(cells: Sequence[CellSummary], results: Results) -> list[CellSummary]:
    """Put into each cell the quality of its file with its KV cache."""
    records = comparable(results).records
    found = ((cell, records.get((cell.artifact.sha256, cell.config.cache))) for cell in cells)
    return [_filled(cell, record) if record else cell for cell, record in found]


def _filled(cell: CellSummary, record: QualityRecord) -> CellSummary:
    assert record.perplexity is not None
    ppl, compared = record.perplexity.ppl, record.divergence
    figures = QualityFigures(
        ppl=ppl,
        kld=compared.kld if compared else None,
        same_top=compared.same_top.value if compared else None,
        text_sha256=record.text_sha256,
        n_ctx=record.n_ctx,
        reference_sha256=record.reference_sha256 if compared else None,
    )
    return msgspec.structs.replace(cell, quality=figures)
