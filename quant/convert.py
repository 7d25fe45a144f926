"""A checkpoint becomes a GGUF file. No torch; the weights stream through in pieces of a few MiB.

Keys, tensors and bytes are those of llama.cpp's own converter, which `make parity` holds this one against.
"""

import logging
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import gguf
import msgspec
import numpy as np
from numpy.typing import NDArray

from quant.artifact import REVISION_KEY, SOURCE_KEY, STANDIN_KEY, WEIGHTS_KEY
from quant.card import load_metadata
from quant.checkpoint import Checkpoint, Tensor, open_checkpoint
from quant.errors import UserError
from quant.families import find_family
from quant.families.base import Family, Planned, interleave_halves
from quant.files import atomic_path, require_space
from quant.floats import convert_floats, n_overflowed
from quant.progress import Progress, silent
from quant.tokenizer import Vocabulary, load_vocabulary

OUTTYPES = ("auto", "f32", "f16", "bf16")
_FILE_TYPES = {  # enum llama_ftype
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
}
_ELEMENT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_CHUNK_ELEMENTS = 2 << 20  # 4 to 8 MiB a piece
_THREADS = 2
_ALIGNMENT = int(gguf.GGUF_DEFAULT_ALIGNMENT)
# gguf tells on stderr what it adds and overwrites; that is no news to a user.
for _name in ("gguf", "metadata"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
_AHEAD = 2 * _THREADS  # pieces that wait to be written
# Buffers that old checkpoints carry; they are computed, not learned.
_IGNORED = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


class ConvertReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    path: Path
    outtype: str  # "F32" | "F16" | "BF16"
    n_tensors: int
    n_params: int
    n_overflowed: int  # finite values that are infinite in float16


class _Job(msgspec.Struct, frozen=True):
    """One tensor of the file to be."""

    planned: Planned
    source: Tensor
    target_type: str


def convert(
    checkpoint_dir: Path,
    target: Path,
    *,
    outtype: str = "auto",
    pre: str | None = None,
    source: str | None = None,
    revision: str | None = None,
    model: str | None = None,
    progress: Progress = silent,
) -> ConvertReport:
    """Write a checkpoint's weights and vocabulary as one GGUF file, whole or not at all.

    Args:
        outtype: type of the matrices; "auto" keeps a 16-bit checkpoint's own. Vectors are always F32.
        pre: llama.cpp's name of the pre-tokenizer, where it is not found.
        source, revision: hub repository and commit, kept in the file when given.
        model: general.name; without it, what the model card or the directory says.

    Raises:
        UserError: the checkpoint is broken, its architecture or tokenizer unknown, or the disk full.
    """
    if outtype not in OUTTYPES:
        raise UserError(f"unknown outtype '{outtype}'; choose from {', '.join(OUTTYPES)}")
    checkpoint = open_checkpoint(checkpoint_dir)
    family = find_family(checkpoint.architecture)
    checkpoint = replace(checkpoint, config=family.complete(checkpoint.config))
    chosen = _outtype(checkpoint, outtype)
    jobs = _jobs(checkpoint, family, chosen)
    extra = family.extra_tensors(checkpoint.config)
    vocabulary = load_vocabulary(checkpoint_dir, checkpoint.config, pre=pre, space_prefix_key=family.space_prefix_key)
    data_bytes = sum(_padded(job.source.n_elements * _ELEMENT_BYTES[job.target_type]) for job in jobs)
    require_space(target.parent, data_bytes + (64 << 20), "the converted file")
    overflowed = 0
    with atomic_path(target) as part:
        writer = gguf.GGUFWriter(None, family.arch)
        for name, values in extra.items():
            writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes, gguf.GGMLQuantizationType.F32)
        for job in jobs:
            kind = gguf.GGMLQuantizationType[job.target_type]
            n_bytes = job.source.n_elements * _ELEMENT_BYTES[job.target_type]
            writer.add_tensor_info(job.planned.target, job.planned.shape, np.dtype(np.float32), n_bytes, kind)
        n_params = int(writer.get_total_parameter_count()[0])
        try:
            with _keys_of(checkpoint.folder):
                _write_keys(writer, checkpoint, family, vocabulary, _FILE_TYPES[chosen], model, source, revision)
                writer.write_header_to_file(part)
                writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            assert writer.fout is not None
            file = writer.fout[0]
            _pad(file)
            for values in extra.values():
                file.write(values.tobytes())
                _pad(file)
            overflowed = _write_tensors(file, jobs, progress)
        finally:
            writer.close()
    return ConvertReport(
        path=target, outtype=chosen, n_tensors=len(jobs) + len(extra), n_params=n_params, n_overflowed=overflowed
    )


def _outtype(checkpoint: Checkpoint, asked: str) -> str:
    if asked != "auto":
        return asked.upper()
    # The config's own word for the type is wrong in some finetunes; the first matrix of 16 bits is not.
    for tensor in checkpoint.tensors.values():
        if len(tensor.shape) >= 2 and tensor.dtype in ("F16", "BF16"):
            return tensor.dtype
    return "F16"


def _jobs(checkpoint: Checkpoint, family: Family, outtype: str) -> list[_Job]:
    """Match what the config asks for with what is there, in the order of the files.

    Raises:
        UserError: a tensor is missing, unexpected or of another shape.
    """
    wanted = {planned.name: planned for planned in family.tensors(checkpoint.config)}
    missing = [name for name, planned in wanted.items() if not planned.optional and name not in checkpoint.tensors]
    if missing:
        raise UserError(
            f"{checkpoint.folder} lacks {len(missing)} tensors that its config asks for, such as {missing[0]}; "
            "fetch the checkpoint again"
        )
    jobs = []
    for name, tensor in checkpoint.tensors.items():
        if name.endswith(_IGNORED):
            continue
        planned = wanted.get(name)
        if planned is None:
            raise UserError(
                f"{checkpoint.folder} has the tensor {name}, which {checkpoint.architecture} has no place for"
            )
        if tensor.shape != planned.shape:
            raise UserError(
                f"tensor {name} is {list(tensor.shape)} where the config asks for {list(planned.shape)}; "
                "config.json and the weights do not belong together"
            )
        vector = len(tensor.shape) <= 1 or planned.target.endswith("_norm.weight")
        jobs.append(_Job(planned, tensor, "F32" if vector else outtype))
    return jobs


@contextmanager
def _keys_of(folder: Path) -> Iterator[None]:
    """Turn gguf's failures on keys that it cannot write into one line: templates, merges and ids are a stranger's."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error) as error:
        raise UserError(
            f"the keys of {folder} cannot be written ({str(error)[:100]}); check its tokenizer files and config.json"
        ) from error


def _write_keys(
    writer: gguf.GGUFWriter,
    checkpoint: Checkpoint,
    family: Family,
    vocabulary: Vocabulary,
    file_type: int,
    model: str | None,
    source: str | None,
    revision: str | None,
) -> None:
    """Add all keys, in the order of llama.cpp's converter; ours come last."""
    total, shared, experts, n_experts = writer.get_total_parameter_count()
    metadata = load_metadata(checkpoint.folder, model, total)
    if metadata.size_label is None and total > 0:
        metadata.size_label = gguf.size_label(total, shared, experts, n_experts)
    writer.add_type(gguf.GGUFType.MODEL)
    metadata.set_gguf_meta_model(writer)
    family.write_keys(writer, checkpoint.config, file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    vocabulary.write(writer)
    family.vocabulary_keys(writer, checkpoint.config)
    if checkpoint.standin_for is not None:
        writer.add_string(WEIGHTS_KEY, "synthetic")
        writer.add_string(STANDIN_KEY, checkpoint.standin_for)
    if source is not None:
        writer.add_string(SOURCE_KEY, source)
    if revision is not None:
        writer.add_string(REVISION_KEY, revision)


def _write_tensors(file: BinaryIO, jobs: list[_Job], progress: Progress) -> int:
    """Convert pieces in two threads, write them in order; give the number of values that became infinite."""
    total = sum(job.source.n_elements for job in jobs)
    done = overflowed = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: list[tuple[Future[tuple[NDArray[Any], int]], bool]] = []

        def write_first() -> None:
            nonlocal done, overflowed
            future, last = waiting.pop(0)
            values, lost = future.result()
            file.write(values.data.cast("B"))
            if last:
                _pad(file)
            done += values.size
            overflowed += lost
            progress("convert", done, total)

        for task, last in _pieces(jobs):
            waiting.append((pool.submit(task), last))
            if len(waiting) > _AHEAD:
                write_first()
        while waiting:
            write_first()
    return int(overflowed)


def _pieces(jobs: list[_Job]) -> Iterator[tuple[Callable[[], tuple[NDArray[Any], int]], bool]]:
    """Cut every tensor into pieces of whole rows, or of whole heads where rows are reordered."""
    for job in jobs:
        n_elements = job.source.n_elements
        heads = job.planned.permute_heads
        unit = n_elements // heads if heads else max(1, n_elements // max(1, job.planned.shape[0]))
        step = max(1, _CHUNK_ELEMENTS // max(1, unit)) * unit
        for first in range(0, n_elements, max(1, step)):
            count = min(step, n_elements - first)

            def task(
                job: _Job = job, first: int = first, count: int = count, n_heads: int = count // unit if heads else 0
            ) -> tuple[NDArray[Any], int]:
                values = job.source.read(first, count)
                if n_heads:
                    rows = values.reshape(-1, *job.planned.shape[1:])
                    values = interleave_halves(rows, n_heads).reshape(-1)
                made = convert_floats(values, job.source.dtype, job.target_type)
                return np.ascontiguousarray(made), n_overflowed(values, job.source.dtype, made, job.target_type)

            yield task, first + count == n_elements


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT


def _pad(file: BinaryIO) -> None:
    place = file.tell()
    file.write(b"\0" * (_padded(place) - place))
