"""Estimates that `slmprof estimate --json` printed, read back as cells that charts draw hollow."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from profiler.export.printed import read_printed
from profiler.records.cell_summary import CellSummary, MemoryFigures
from profiler.records.config import Cell, RunConfig, base_config
from profiler.records.span import Span
from quant.base.errors import UserError
from quant.gguf_io.artifact import Artifact

_COMMAND = "slmprof estimate --json"
_Positive = Annotated[float, msgspec.Meta(gt=0)]
S = TypeVar("S", bound=msgspec.Struct)


class _Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that are named otherwise in a cell."""

    kind: Literal["estimated"]
    env_id: str
    quant: str
    imatrix: str | None = None
    flash_attn: bool | None = None
    flash_attn_asked: str = "auto"
    model_rss_bytes: _Positive | None = None
    prefill_tps: _Positive | None = None
    prefill_tps_lo: _Positive | None = None
    prefill_tps_hi: _Positive | None = None
    decode_tps: _Positive | None = None
    decode_tps_lo: _Positive | None = None
    decode_tps_hi: _Positive | None = None
    ttft_ms: _Positive | None = None
    ttft_ms_lo: _Positive | None = None
    ttft_ms_hi: _Positive | None = None


def read_estimates(paths: Sequence[Path]) -> list[CellSummary]:
    """Return the estimates in files, each speed with its range; of one file's load modes and outputs the first.

    Raises:
        UserError: a file cannot be read, or is something else.
    """
    cells: dict[tuple[object, ...], CellSummary] = {}
    for path in paths:
        for fields in read_printed(path, list[dict[str, Any]], _COMMAND):
            try:
                cell = _cell(fields)
            except msgspec.ValidationError as error:
                raise UserError(f"{path} is not the output of {_COMMAND} ({error}); save it with > FILE") from error
            key = (cell.env_id, cell.artifact.sha256, cell.config.load, cell.config.n_threads, cell.config.n_ctx)
            cells.setdefault(key, cell)
    return list(cells.values())


def _cell(fields: Mapping[str, Any]) -> CellSummary:
    own = msgspec.convert(fields, _Estimate)
    fields = {name: value for name, value in fields.items() if value is not None}
    # Of no file: what identifies one here is the model and how it is quantized.
    name = "/".join(str(fields.get(key)) for key in ("model", "n_params", "weights", "quant", "imatrix"))
    artifact = _struct(
        Artifact,
        fields,
        sha256=hashlib.sha256(name.encode(errors="replace")).hexdigest(),
        file_name="",
        level=own.quant,
        imatrix_sha256=own.imatrix,
    )
    usual = msgspec.structs.asdict(base_config(workload="any"))
    config = _struct(RunConfig, usual | fields, flash_attn=own.flash_attn_asked)
    return CellSummary(
        cell_key=Cell(artifact_sha256=artifact.sha256, config=config).key,
        env_id=own.env_id,
        artifact=artifact,
        config=config,
        kind="estimated",
        status="ok",
        rounds=0,
        reps=0,
        flash_attn=own.flash_attn,
        prefill_tps=_span(own.prefill_tps, own.prefill_tps_lo, own.prefill_tps_hi),
        decode_tps=_span(own.decode_tps, own.decode_tps_lo, own.decode_tps_hi),
        ttft_ms=_span(own.ttft_ms, own.ttft_ms_lo, own.ttft_ms_hi),
        model_rss_bytes=_span(own.model_rss_bytes),
        memory=_struct(MemoryFigures, fields),
    )


def _struct(kind: type[S], fields: Mapping[str, Any], **named: Any) -> S:
    """Return a record of the fields that have its names."""
    known = {name: value for name, value in fields.items() if name in kind.__struct_fields__}
    return msgspec.convert(known | named, kind)


def _span(value: float | None, lo: float | None = None, hi: float | None = None) -> Span | None:
    return None if value is None else Span(value, lo or value, hi or value, "estimate")
