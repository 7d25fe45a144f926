"""Convert a checkpoint to a GGUF file, without torch; the weights are streamed in chunks of a few MiB.

Weights that are stored in types of ggml's, MXFP4 and NVFP4, stay as they are, whatever the type of the others.
The bytes are those of llama.cpp's own converter; `make parity` compares both.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.base.files import atomic_path, require_space, write_in_steps
from quant.base.progress import progress, say
from quant.convert.job import Job
from quant.convert.layout import Layout, open_layout
from quant.convert.provenance import Origin, TokenCheck
from quant.convert.row_chunks import chunk_type, n_rows, read_blocks, read_chunk, row_chunks, row_length
from quant.convert.sparse_gguf import file_type
from quant.convert.verify.verified import verified_keys
from quant.gguf_io.floats import convert_floats, n_overflowed
from quant.gguf_io.writer import VOCABULARY_BYTES, compose_header, n_padding

OUTTYPES = ("auto", "f32", "f16", "bf16")
_CHUNK_ELEMENTS = 2 << 20  # 4 to 8 MiB per chunk
_THREADS = 2
_AHEAD = 2 * _THREADS  # chunks that wait to be written


class ConvertReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    path: Path
    outtype: str  # "F32" | "F16" | "BF16"
    n_tensors: int
    n_params: int
    n_overflowed: int  # finite values that are infinite in float16
    tokens: TokenCheck


def convert(
    checkpoint_dir: Path,
    target: Path,
    *,
    outtype: str = "auto",
    pre: str | None = None,
    origin: Origin | None = None,
    adapter: Path | None = None,
    allow_token_mismatch: bool = False,
) -> ConvertReport:
    """Write a checkpoint's weights and vocabulary as one GGUF file, whole or not at all.

    Args:
        outtype: type of the matrices that are not kept as they are stored; "auto" keeps a 16-bit checkpoint's own.
            Vectors are always F32.
        pre: llama.cpp's name of the pre-tokenizer, if it cannot be detected.
        adapter: the folder of a LoRA adapter to merge.
        allow_token_mismatch: convert although llama.cpp's tokens differ; the file records it.

    Raises:
        UserError: the checkpoint is broken, its architecture or tokenizer unknown, llama.cpp cannot open the file or
            finds other tokens in a text, or the disk is full.
    """
    if outtype not in OUTTYPES:
        raise UserError(f"unknown outtype '{outtype}'; choose from {', '.join(OUTTYPES)}")
    layout = open_layout(checkpoint_dir, pre=pre, origin=origin, adapter=adapter, keep=True)
    for note in layout.checkpoint.notes:
        say(note)
    with tempfile.TemporaryDirectory(prefix="slmprof.") as scratch:
        # Before anything is written: the vocabulary may be broken.
        keys, tokens = verified_keys(layout, target.stem, Path(scratch), allow_mismatch=allow_token_mismatch)
    chosen = _outtype(layout, outtype)
    types = layout.types_at(chosen)
    require_space(target.parent, layout.data_bytes(types) + VOCABULARY_BYTES, "the converted file")
    with atomic_path(target, read_again=True) as part, part.open("wb") as file:
        # As in llama.cpp's converter, the files of some families have no file type.
        number = file_type(layout, chosen)
        file.write(compose_header(keys, layout.entries(types), file_type=number, append_file_type=False))
        overflowed = _write_tensors(file, layout, types)
    return ConvertReport(
        path=target,
        outtype=chosen,
        n_tensors=len(layout.jobs) + len(layout.extra),
        n_params=layout.n_params,
        n_overflowed=overflowed,
        tokens=tokens,
    )


def _outtype(layout: Layout, requested: str) -> str:
    if requested != "auto":
        return requested.upper()
    # torch_dtype is wrong in the configs of some finetunes; the first 16-bit matrix is not, scales among them.
    for tensor in (layout.checkpoint.parts or layout.checkpoint.tensors).values():
        if len(tensor.shape) >= 2 and tensor.dtype in ("F16", "BF16"):
            return tensor.dtype
    return "F16"


class _Chunk(NamedTuple):
    """Rows that are being converted."""

    job: Job
    end: int
    n_values: int
    converted: Future[tuple[NDArray[Any], int]]


def _write_tensors(file: BinaryIO, layout: Layout, types: dict[str, str]) -> int:
    """Convert chunks in two threads and write them in order; return the number of values that became infinite."""
    total = sum(job.planned.n_elements for job in layout.jobs)
    done = overflowed = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: list[_Chunk] = []

        def write_first() -> None:
            nonlocal done, overflowed
            chunk = waiting.pop(0)
            values, lost = chunk.converted.result()
            write_in_steps(file, values.data)
            if chunk.end == n_rows(chunk.job):
                file.write(b"\0" * n_padding(file.tell()))
            done += chunk.n_values
            overflowed += lost
            progress("convert", done, total)

        first_jobs, other_jobs = layout.jobs[: layout.n_first], layout.jobs[layout.n_first :]
        for jobs, data_after in ((first_jobs, layout.extra_data()), (other_jobs, b"")):
            for job, first, end in _all_chunks(jobs):
                future = pool.submit(_converted, job, first, end, types[job.target].upper())
                waiting.append(_Chunk(job, end, (end - first) * row_length(job), future))
                if len(waiting) > _AHEAD:
                    write_first()
            while waiting:
                write_first()
            file.write(data_after)
    return int(overflowed)


def _all_chunks(jobs: tuple[Job, ...]) -> Iterator[tuple[Job, int, int]]:
    for job in jobs:
        for first, end in row_chunks(job, _CHUNK_ELEMENTS):
            yield job, first, end


def _converted(job: Job, first: int, end: int, target_type: str) -> tuple[NDArray[Any], int]:
    if job.kept:
        return read_blocks(job, first, end), 0
    values, source_type = read_chunk(job, first, end), chunk_type(job)
    made = np.ascontiguousarray(convert_floats(values, source_type, target_type))
    return made, n_overflowed(values, source_type, made, target_type)
