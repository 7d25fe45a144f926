"""The sizes of a model's levels: each tensor's type by llama.cpp's dry run, its bytes by type and shape.

Runs in a worker process only: llama.cpp is in it.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import msgspec

from profiler.estimate.records import LevelSize, Question
from profiler.estimate.repack_sizes import repacked_bytes
from profiler.predict.work import Stored, graph_work
from profiler.records.graph import Node
from quant.base.errors import UserError
from quant.gguf_io.artifact import artifact_of
from quant.gguf_io.decode_bytes import decode_weight_bytes, n_params_active
from quant.gguf_io.header import GgufHeader, TensorInfo
from quant.gguf_io.levels import LEVEL_BY_NAME, levels_requested_by_name, parse_levels
from quant.gguf_io.types import TYPE_BY_NAME
from quant.gguf_io.writer import padded
from quant.quantize.dry_run import Plan, plan_of
from quant.quantize.llama_worker import dry_runs

# Looked up by row, or added; never multiplied by. Source: LLM_TENSOR_INFOS in src/llama-arch.cpp.
_NEVER_MULTIPLIED = ("token_embd.", "per_layer_token_embd.", "position_embd.", "token_types.", "rope_f")
_EMBEDDING = "token_embd.weight"
# Read without mmap, their tied matrix is in memory twice, since the output's copy is made first, and the embedding is
# no copy of it. Source: load_arch_tensors in src/models/gemma3n.cpp and gemma4.cpp of the pinned llama.cpp.
_OUTPUT_FIRST = {"gemma3n", "gemma4"}
_OUTPUT = "output.weight"
# Families of levels whose types are the same with an importance matrix and without one.
# Source: has_imatrix in llama_tensor_get_type_impl of src/llama-quant.cpp of the pinned llama.cpp.
_SAME_WITH_IMATRIX = {"float", "k-quant"}


class Graph(NamedTuple):
    """What llama.cpp computes for a batch of so many tokens."""

    n_tokens: int
    nodes: Sequence[Node]


def level_sizes(
    question: Question, header: GgufHeader, graphs: Sequence[Graph] = (), *, repack: bool
) -> list[LevelSize]:
    """Return the requested levels, or the file as it is where none is requested.

    Raises:
        UserError: the file is quantized already, or the dry run cannot be read.
    """
    of = _Levels(header, graphs, repack=repack)
    if question.levels is None:
        types = {tensor.name: tensor.type.name for tensor in header.tensors}
        return [of.size(artifact_of(header, "").level, types)]
    names, by_name = parse_levels(question.levels), levels_requested_by_name(question.levels)
    if question.path is not None and any(tensor.type.is_quantized for tensor in header.tensors):
        raise UserError(
            f"{question.model} is quantized already; omit -q, or use the F32, F16 or BF16 file or the checkpoint"
        )
    plans = {} if question.always_imatrix else _dry_runs(header, names, as_with_imatrix=False)
    with_imatrix = {
        name: plan
        for name, plan in plans.items()
        if _needs_imatrix(plan) and LEVEL_BY_NAME[name].family in _SAME_WITH_IMATRIX
    }
    differing = [
        name for name in names if question.always_imatrix or (name not in with_imatrix and _needs_imatrix(plans[name]))
    ]
    with_imatrix |= _dry_runs(header, differing, as_with_imatrix=True)
    sizes = []
    for name in names:
        plan = with_imatrix.get(name) or plans[name]
        if isinstance(plan, str):
            if name in by_name:
                sizes.append(LevelSize(level=name, refusal=plan))
        elif name in by_name or not plan.is_q8_by_another_name:
            sizes.append(
                msgspec.structs.replace(
                    of.size(name, plan.types),
                    needs_imatrix=name in plans and _needs_imatrix(plans[name]),
                    with_imatrix=name in with_imatrix,
                )
            )
    return sizes


def _needs_imatrix(plan: Plan | str) -> bool:
    return not isinstance(plan, str) and plan.needs_imatrix


def _dry_runs(header: GgufHeader, levels: Sequence[str], *, as_with_imatrix: bool) -> dict[str, Plan | str]:
    """Plan each level; for one that llama.cpp refuses, return its reason.

    Raises:
        UserError: the log cannot be read.
    """
    ftypes = [LEVEL_BY_NAME[level].ftype for level in levels]
    outcomes = dry_runs(header.paths[0], ftypes, as_with_imatrix=as_with_imatrix)
    return {
        level: _reason(log) if status else plan_of(log, header, level)
        for level, (status, log) in zip(levels, outcomes, strict=True)
    }


def _reason(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2][:200] if lines else "llama.cpp gave no reason"


class _Levels:
    """The sizes of one file's levels: what is the same at each is found once."""

    def __init__(self, header: GgufHeader, graphs: Sequence[Graph], *, repack: bool) -> None:
        self._header, self._graphs, self._repack = header, graphs, repack
        self._arch = header.text("general.architecture") or ""
        self._tied = not any(tensor.name == _OUTPUT for tensor in header.tensors)
        self._is_copied = [repack and _may_be_copied(tensor) for tensor in header.tensors]
        self._n_params = sum(tensor.n_weights for tensor in header.tensors)
        self._n_params_active = n_params_active(header, self._arch)

    def size(self, level: str, types: dict[str, str]) -> LevelSize:
        """Add up the tensors, whose types are known."""
        offset = plain = repacked = largest = work = tensor_bytes = 0
        first: int | None = None
        last = 0
        stored: dict[str, Stored] = {}
        for tensor, is_copied in zip(self._header.tensors, self._is_copied, strict=True):
            kind, dims = types[tensor.name], tensor.dims
            n_bytes, n_work_bytes = _bytes_of(kind, dims)
            tensor_bytes += n_bytes
            copy = repacked_bytes(kind, dims, by_experts="_exps." in tensor.name) if is_copied else 0
            stored[tensor.name] = Stored(kind, n_bytes, repacked=copy > 0)
            if self._repack and self._tied and tensor.name == _EMBEDDING:
                # The output matrix is the embedding again, and is repacked like a matrix of its own.
                output_copy = repacked_bytes(kind, dims)
                repacked += output_copy
                stored[tensor.name] = Stored(kind, n_bytes, repacked=output_copy > 0)
                plain += n_bytes if self._arch in _OUTPUT_FIRST and not output_copy else 0
            if copy:
                repacked += copy
                largest = max(largest, n_bytes)
            else:
                plain += n_bytes
                first = offset if first is None else first
                last = offset + n_bytes
            work = max(work, n_work_bytes)
            offset += padded(n_bytes)
        return LevelSize(
            level=level,
            n_params=self._n_params,
            n_params_active=self._n_params_active,
            tensor_bytes=tensor_bytes,
            data_bytes=offset,
            types=dict(sorted(Counter(types.values()).items())),
            plain_bytes=plain,
            mapped_bytes=last - (first or 0),
            repacked_bytes=repacked,
            largest_repacked_bytes=largest,
            decode_weight_bytes=decode_weight_bytes(self._header, self._arch, types),
            n_work_bytes_per_token=work,
            graphs=tuple(graph_work(graph.nodes, graph.n_tokens, stored.__getitem__) for graph in self._graphs),
        )


def _may_be_copied(tensor: TensorInfo) -> bool:
    """Return whether a repacked copy is made of a tensor where this CPU has a layout of its own for it."""
    is_matrix = len(tensor.dims) > 1 and tensor.name.endswith(".weight")
    return is_matrix and not tensor.name.startswith(_NEVER_MULTIPLIED)


@cache
def _bytes_of(kind: str, dims: tuple[int, ...]) -> tuple[int, int]:
    """Return the bytes of a tensor, and those of one row of the other factor."""
    return TYPE_BY_NAME[kind].nbytes(dims), dims[0] * _input_bytes(kind) if len(dims) > 1 else 0


def _input_bytes(kind: str) -> int:
    """Return the bytes of one value of the other factor, rounded up. Source: vec_dot_type in ggml/src/ggml-cpu."""
    if kind == "f32":
        return 0  # as it is
    return 2 if not TYPE_BY_NAME[kind].is_quantized else 1
