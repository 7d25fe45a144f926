"""Quality next to speed: the scores of a results file on one text, by model file."""

from collections.abc import Sequence

import msgspec

from profiler.records.cell_summary import CellSummary, QualityFigures
from profiler.records.quality import QualityRecord
from profiler.results.file import Results


class Comparable(msgspec.Struct, frozen=True, kw_only=True):
    """The records that may be compared, or why there are none."""

    records: dict[str, QualityRecord] = {}  # by the file's sha256; of several references the last
    problem: str | None = None


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
    return record.artifact_sha256, record.text_sha256, record.n_ctx, record.reference_sha256


def _without_reference(record: QualityRecord) -> tuple[object, ...]:
    return record.key[:-1]


def comparable(results: Results) -> Comparable:
    """Return the ok records where all are of one text in the same windows; otherwise nothing may be compared.

    A pick's are of more or fewer windows from the beginning of one text: their errors show it. They count where nothing
    else was scored.
    """
    scored = [record for record in settled(results) if record.status == "ok"]
    scored = [record for record in scored if not record.adaptive] or scored
    settings = {(record.text_sha256, record.n_ctx, _part_of(record)) for record in scored}
    if len(settings) > 1:
        n_texts = len({record.text_sha256 for record in scored})
        what = f"{n_texts} texts" if n_texts > 1 else "one text, cut into other windows"
        return Comparable(
            problem=f"quality was measured on {what}, which cannot be compared: no cell shows it; "
            "keep such results in files of their own"
        )
    return Comparable(records={record.artifact_sha256: record for record in scored})


def _part_of(record: QualityRecord) -> int | None:
    """Return how many windows of the text were scored; None for all, or as many as a pick needed."""
    requested = record.n_chunks_asked
    is_whole = requested is None or record.adaptive or record.n_chunks < requested
    return None if is_whole else record.n_chunks


def with_quality(cells: Sequence[CellSummary], results: Results) -> list[CellSummary]:
    """Put each file's quality into its cells."""
    records = comparable(results).records
    return [_filled(cell, records[cell.artifact.sha256]) if cell.artifact.sha256 in records else cell for cell in cells]


def _filled(cell: CellSummary, record: QualityRecord) -> CellSummary:
    assert record.perplexity is not None
    ppl, compared = record.perplexity.ppl, record.divergence
    figures = QualityFigures(
        ppl=ppl,
        kld=compared.kld if compared else None,
        same_top=compared.same_top.value if compared else None,
        text_sha256=record.text_sha256,
    )
    return msgspec.structs.replace(cell, quality=figures)
