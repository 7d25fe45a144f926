"""The sizes of a model's levels: each tensor's type by llama.cpp's dry run, its bytes by type and shape.

Runs in a worker process only: llama.cpp is in it.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiler.estimate.header_only import write_uniform_imatrix
from profiler.estimate.records import LevelSize, Question
from profiler.estimate.repack_sizes import repacked_bytes
from quant.base.errors import UserError
from quant.gguf_io.artifact import artifact_of
from quant.gguf_io.decode_bytes import decode_weight_bytes, n_params_active
from quant.gguf_io.header import GgufHeader, TensorInfo
from quant.gguf_io.levels import LEVEL_BY_NAME, levels_requested_by_name, parse_levels
from quant.gguf_io.types import TYPE_BY_NAME
from quant.gguf_io.writer import padded
from quant.quantize.dry_run import Plan, plan_of
from quant.quantize.llama_process import outcomes_of
from quant.quantize.llama_worker import Event, Job, work

# Looked up by row, or added; never multiplied by. Source: LLM_TENSOR_INFOS in src/llama-arch.cpp.
_NEVER_MULTIPLIED = ("token_embd.", "per_layer_token_embd.", "position_embd.", "token_types.", "rope_f")
_EMBEDDING = "token_embd.weight"
# Read without mmap, their tied matrix is in memory twice, since the output's copy is made first, and the embedding is
# no copy of it. Source: load_arch_tensors in src/models/gemma3n.cpp and gemma4.cpp of the pinned llama.cpp.
_OUTPUT_FIRST = {"gemma3n", "gemma4"}
_OUTPUT = "output.weight"


def level_sizes(question: Question, header: GgufHeader, folder: Path, *, repack: bool) -> list[LevelSize]:
    """Return the requested levels, or the file as it is where none is requested.

    Args:
        folder: where an importance matrix of ones is written, for the levels that need one.

    Raises:
        UserError: the file is quantized already, or the dry run cannot be read.
    """
    if question.levels is None:
        types = {tensor.name: tensor.type.name for tensor in header.tensors}
        return [_level_size(header, artifact_of(header, "").level, types, repack=repack)]
    names, by_name = parse_levels(question.levels), levels_requested_by_name(question.levels)
    if question.path is not None and any(tensor.type.is_quantized for tensor in header.tensors):
        raise UserError(
            f"{question.model} is quantized already; omit -q, or use the F32, F16 or BF16 file or the checkpoint"
        )
    plans = {} if question.always_imatrix else _dry_runs(header, names, None)
    with_imatrix: dict[str, Plan | str] = {}
    if names_with_imatrix := [name for name in names if question.always_imatrix or _needs_imatrix(plans[name])]:
        imatrix = folder / "imatrix.gguf"
        write_uniform_imatrix(header, imatrix)
        with_imatrix = _dry_runs(header, names_with_imatrix, imatrix)
    sizes = []
    for name in names:
        plan = with_imatrix.get(name) or plans[name]
        if isinstance(plan, str):
            if name in by_name:
                sizes.append(LevelSize(level=name, refusal=plan))
        elif name in by_name or not plan.is_q8_by_another_name:
            size = _level_size(header, name, plan.types, repack=repack)
            sizes.append(
                msgspec.structs.replace(
                    size,
                    needs_imatrix=name in plans and _needs_imatrix(plans[name]),
                    with_imatrix=name in with_imatrix,
                )
            )
    return sizes


def _needs_imatrix(plan: Plan | str) -> bool:
    return not isinstance(plan, str) and plan.needs_imatrix


def _dry_runs(header: GgufHeader, levels: Sequence[str], imatrix: Path | None) -> dict[str, Plan | str]:
    """Plan each level; for one that llama.cpp refuses, return its reason.

    Raises:
        UserError: the job cannot be done at all, or the log cannot be read.
    """
    events: list[Event] = []
    ftypes = tuple(LEVEL_BY_NAME[level].ftype for level in levels)
    job = Job(source=str(header.paths[0]), ftypes=ftypes, imatrix=str(imatrix) if imatrix else None)
    work(job, events.append)
    return {
        level: _reason(outcome.log) if outcome.refusal else plan_of(outcome.log, header, level)
        for level, outcome in zip(levels, outcomes_of(job, events), strict=True)
    }


def _reason(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2][:200] if lines else "llama.cpp gave no reason"


def _level_size(header: GgufHeader, level: str, types: dict[str, str], *, repack: bool) -> LevelSize:
    """Add up the tensors of a file whose types are known."""
    arch = header.text("general.architecture") or ""
    tied = not any(tensor.name == _OUTPUT for tensor in header.tensors)
    offset = plain = repacked = largest = work = tensor_bytes = 0
    first: int | None = None
    last = 0
    for tensor in header.tensors:
        kind = types[tensor.name]
        n_bytes = TYPE_BY_NAME[kind].nbytes(tensor.dims)
        tensor_bytes += n_bytes
        copy = _copy_bytes(tensor, kind) if repack else 0
        if repack and tied and tensor.name == _EMBEDDING:
            # The output matrix is the embedding again, and is repacked like a matrix of its own.
            output_copy = repacked_bytes(kind, tensor.dims)
            repacked += output_copy
            plain += n_bytes if arch in _OUTPUT_FIRST and not output_copy else 0
        if copy:
            repacked += copy
            largest = max(largest, n_bytes)
        else:
            plain += n_bytes
            first = offset if first is None else first
            last = offset + n_bytes
        if len(tensor.dims) > 1:
            work = max(work, tensor.dims[0] * _input_bytes(kind))
        offset += padded(n_bytes)
    return LevelSize(
        level=level,
        n_params=sum(tensor.n_weights for tensor in header.tensors),
        n_params_active=n_params_active(header, arch),
        tensor_bytes=tensor_bytes,
        data_bytes=offset,
        types=dict(sorted(Counter(types.values()).items())),
        plain_bytes=plain,
        mapped_bytes=last - (first or 0),
        repacked_bytes=repacked,
        largest_repacked_bytes=largest,
        decode_weight_bytes=decode_weight_bytes(header, arch, types),
        n_work_bytes_per_token=work,
    )


def _copy_bytes(tensor: TensorInfo, kind: str) -> int:
    """Return the bytes of a tensor's repacked copy; 0 where it keeps the file's layout."""
    if len(tensor.dims) < 2 or not tensor.name.endswith(".weight") or tensor.name.startswith(_NEVER_MULTIPLIED):
        return 0
    return repacked_bytes(kind, tensor.dims, by_experts="_exps." in tensor.name)


def _input_bytes(kind: str) -> int:
    """Return the bytes of one value of the other factor, rounded up. Source: vec_dot_type in ggml/src/ggml-cpu."""
    if kind == "f32":
        return 0  # as it is
    return 2 if not TYPE_BY_NAME[kind].is_quantized else 1
