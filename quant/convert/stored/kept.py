"""Matrices that stay as they are stored, MXFP4 and NVFP4: in the blocks of ggml's types, in files of every type.

Which of them llama.cpp's converter keeps is here too, and the factors of NVFP4, which are tensors of their own there.
Source: _generate_nvfp4_tensors and _flush_nvfp4_experts in conversion/base.py, and conversion/gpt_oss.py of the pinned
llama.cpp.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.convert.families.planned import Planned
from quant.convert.job import Job
from quant.convert.safetensors_file import Tensor
from quant.convert.stored.fp4 import Fp4
from quant.convert.stored.parts import StoredTensor
from quant.gguf_io.types import TYPE_BY_NAME

_GROUP = 16  # numbers of NVFP4 that have one scale
_AS_ONE = 1e-6  # a factor this near to one is not written
# Where the converter keeps a type: MXFP4 in gpt-oss alone, NVFP4 everywhere. llama.cpp multiplies by the factors of all
# these matrices in these architectures only; in others the model would generate nonsense, so theirs are dequantized.
# Source: the uses of build_qkv, wo_s, ffn_up_s, ffn_up_exps_s and output_s in src/models/ of the pinned llama.cpp.
_ARCHITECTURES = {
    "mxfp4": ("gpt-oss",),
    "nvfp4": ("llama", "mistral3", "qwen3", "qwen3moe", "qwen35", "qwen35moe"),
}
_MULTIPLIED = re.compile(
    r"output|blk\.\d+\.(attn_(q|k|v|qkv|output|gate)|ffn_(gate|up|down)(_exps|_shexp)?|ssm_(out|alpha|beta))"
)


@dataclass(frozen=True)
class _Blocks(Tensor):
    """A weight's rows as blocks, byte by byte."""

    weight: Fp4
    columns: tuple[int, ...] | None

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Read `count` bytes from `first`: whole rows."""
        width = self.shape[-1]
        columns = None if self.columns is None else np.array(self.columns)
        return self.weight.blocks(first // width, (first + count) // width, columns).reshape(-1)


@dataclass(frozen=True)
class _Numbers(Tensor):
    """Numbers that were read already."""

    values: tuple[float, ...]

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Return `count` of them from `first`."""
        return np.array(self.values[first : first + count], np.float32)


def type_of(job: Job) -> str | None:
    """Return the ggml type that holds a matrix as it is stored, of mxfp4 and nvfp4; None if none does."""
    planned = job.planned
    is_as_stored = not (planned.is_changed or planned.transposed or planned.padded or job.is_vector)
    weights = _weights(job)
    if not is_as_stored or len(weights) != len(job.sources) or planned.row_length != planned.shape[-1]:
        return None
    kinds = {each.ggml_type for each in weights}
    is_whole = len(kinds) == 1 and all(each.shape[-1] == planned.row_length for each in weights)
    kind = kinds.pop() if is_whole else None
    if planned.columns is not None and (kind != "nvfp4" or not _moves_groups(planned)):
        return None
    return kind


def as_blocks(job: Job) -> Job:
    """Return a matrix whose rows are those of its blocks, byte by byte."""
    kind, planned = type_of(job), job.planned
    assert kind is not None
    n_bytes = TYPE_BY_NAME[kind].nbytes((planned.row_length,))
    columns = None if planned.columns is None else tuple(map(int, _columns(planned)))
    sources = tuple(
        _Blocks(each.name, "U8", (*each.shape[:-1], n_bytes), each.path, each.offset, weight=weight, columns=columns)
        for each, weight in zip(job.sources, _weights(job), strict=True)
    )
    return Job(msgspec.structs.replace(planned, shape=(*planned.shape[:-1], n_bytes), columns=None), sources)


def kept_first(jobs: Sequence[Job], names: Sequence[str], method: str | None, arch: str) -> tuple[list[Job], int]:
    """Return a checkpoint's tensors, first those that are kept as they are stored, each with its factors.

    Args:
        names: of all of the checkpoint's tensors, in its order.
        method: by which its weights are stored.

    Returns:
        Also the number of those that come first.

    Raises:
        UserError: a factor cannot be read, or is no number.
    """
    kinds = {job.target: _kept_type(job, method, arch) for job in jobs}
    place = {name: number for number, name in enumerate(names)}
    kept = sorted(
        (replace(job, kept=kinds[job.target]) for job in jobs if kinds[job.target]),
        key=lambda job: max(place[name] for name in job.planned.sources),
    )
    first = [each for job in kept for each in (job, *_factors(job))]
    return [*first, *(job for job in jobs if not kinds[job.target])], len(first)


def stored_note(jobs: Sequence[Job], what: str) -> str:
    """Return a note on a checkpoint's weights: how many are kept, and that the others are dequantized."""
    kept = [job.kept for job in jobs if job.kept]
    others = [job for job in jobs if not job.kept and any(isinstance(each, StoredTensor) for each in job.sources)]
    if not kept:
        return f"{what}; its weights are dequantized, which does not undo the loss"
    rest = f", {len(others)} are dequantized" if others else ""
    return f"{what}; {len(kept)} of its matrices stay {str(kept[0]).upper()}{rest}"


def wide_inputs(jobs: Sequence[Job]) -> list[str]:
    """Return the kept matrices whose inputs are not to be quantized to four bits."""
    return sorted(job.target for job in jobs if job.kept and any(each.wide_inputs for each in _weights(job)))


def _kept_type(job: Job, method: str | None, arch: str) -> str | None:
    kind = type_of(job)
    if kind is None or arch not in _ARCHITECTURES[kind] or (kind == "mxfp4") != (method == "mxfp4"):
        return None
    return kind if _MULTIPLIED.fullmatch(job.target.removesuffix(".weight")) else None


def _weights(job: Job) -> list[Fp4]:
    found = [each.weight for each in job.sources if isinstance(each, StoredTensor)]
    return [each for each in found if isinstance(each, Fp4)]


def _columns(planned: Planned) -> NDArray[np.intp]:
    assert planned.columns is not None
    return planned.columns.source_rows(0, planned.row_length, planned.row_length)


def _moves_groups(planned: Planned) -> bool:
    """Return whether the numbers that have one scale stay together."""
    groups = _columns(planned).reshape(-1, _GROUP)
    return bool((groups[:, 0] % _GROUP == 0).all() and (np.diff(groups) == 1).all())


def _factors(job: Job) -> Iterator[Job]:
    """Yield the tensors of a matrix's factors, and of its inputs'; of experts one for each. Ones are omitted."""
    factors = [each.factor for each in _weights(job) if each.factor is not None]
    for name, values in (
        ("scale", tuple(float(each.weight()) for each in factors)),
        ("input_scale", tuple(float(each.inputs()) for each in factors)),
    ):
        if not np.isfinite(values).all():
            part = job.sources[0]
            raise UserError(f"the {name} of {part.name} in {part.path} is no number; download the checkpoint again")
        if not _are_ones(values, of_experts=bool(job.planned.stacked)):
            source = job.sources[0]
            numbers = _Numbers(source.name, "F32", (len(values),), source.path, source.offset, values=values)
            target = f"{job.target.removesuffix('.weight')}.{name}"
            yield Job(Planned(name=source.name, shape=(len(values),), target=target), (numbers,))


def _are_ones(values: tuple[float, ...], *, of_experts: bool) -> bool:
    if of_experts:
        return np.allclose(values, 1.0, atol=_AS_ONE)
    return all(abs(value - 1) < _AS_ONE for value in values)
