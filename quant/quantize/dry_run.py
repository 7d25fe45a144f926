"""llama.cpp's dry run of a file at a level: each tensor's type, the size, the fallbacks."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from quant.base.errors import UserError
from quant.gguf_io.header import GgufHeader
from quant.gguf_io.levels import LEVEL_BY_NAME
from quant.gguf_io.types import TYPE_BY_NAME

_TENSOR = re.compile(r"^\[ *\d+/ *\d+\] (.+?) +- \[[^\]]*\], type = +\S+, size = [^>]*(?:-> [^>]*\((\S+)\))?$")
_FALLBACK = re.compile(r"^warning: (.+?) +- ncols .*\(required for type +(\S+?)\).*-> falling back to +(\S+)$")
_NEEDS_IMATRIX = "will require an imatrix"

# Source: tensor_requires_imatrix and tensor_name_match_* in src/llama-quant.cpp.
_IMATRIX_TYPES = {"iq3_xxs", "iq2_xxs", "iq2_xs", "iq2_s", "iq1_m", "iq1_s"}
_EMBEDDINGS = {"token_embd.weight", "per_layer_token_embd.weight"}
_OUTPUT = "output.weight"
# The levels whose output matrix is q5_K instead of q6_K. Source: llama_tensor_get_type_impl in src/llama-quant.cpp.
_Q5_OUTPUT = {"IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ2_S", "IQ2_M", "IQ1_M"}
_ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT, which llama_model_quantize always writes
_METADATA_MARGIN = 4096  # for the keys that quantizing adds


@dataclass(frozen=True)
class Plan:
    """A level of one model, before it is made."""

    level: str
    types: dict[str, str]  # tensor -> ggml type
    needs_imatrix: bool  # and has none
    file_bytes: int  # at most a few KiB too many
    fallback_of: dict[str, tuple[str, str]]  # tensor -> the level's type, and the one its row length allows

    @property
    def fallbacks(self) -> dict[str, int]:
        """How many tensors fell back, by "q4_K -> q5_0"."""
        counts = Counter(f"{wanted} -> {got}" for wanted, got in self.fallback_of.values())
        return dict(sorted(counts.items()))

    @property
    def is_q8_by_another_name(self) -> bool:
        """Whether a level for mixtures of experts makes nothing but Q8_0 of this model."""
        level = LEVEL_BY_NAME[self.level]
        return level.family == "fp4" and level.main_type not in self.types.values()


def plan_of(log: str, header: GgufHeader, level: str) -> Plan:
    """Read the log of a dry run of `level` on the file with this header.

    Raises:
        UserError: the log lacks a tensor's type; this build of llama.cpp writes another log.
    """
    by_name = {tensor.name: tensor for tensor in header.tensors}
    types: dict[str, str] = {}
    fallback_of: dict[str, tuple[str, str]] = {}
    for line in log.splitlines():
        if line.startswith("[") and (match := _TENSOR.match(line)):
            tensor = by_name.get(match[1])
            if tensor:
                types[tensor.name] = match[2] or tensor.type.name
        elif line.startswith("warning") and (match := _FALLBACK.match(line)) and match[1] in by_name:
            fallback_of[match[1]] = (match[2], match[3])
    if types.keys() != by_name.keys() or not set(types.values()) <= TYPE_BY_NAME.keys():
        raise UserError(
            f"llama.cpp's dry run of {level} on {header.paths[0]} cannot be read; "
            "install the llama-cpp-python version that this program asks for"
        )
    fallback_of |= _silent_output_fallback(header, level, types, fallback_of)
    sizes = [TYPE_BY_NAME[types[tensor.name]].nbytes(tensor.dims) for tensor in header.tensors]
    return Plan(
        level=level,
        types=types,
        needs_imatrix=_NEEDS_IMATRIX in log,
        file_bytes=sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes) + header.header_bytes + _METADATA_MARGIN,
        fallback_of=fallback_of,
    )


def _silent_output_fallback(
    header: GgufHeader, level: str, types: dict[str, str], logged: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Find the one fallback that llama.cpp does not log: an output matrix whose rows the level cannot store.

    Source: llama_tensor_get_type_impl in src/llama-quant.cpp, which then stores it as q8_0.
    """
    output = _OUTPUT if _OUTPUT in types else "token_embd.weight"
    tensor = next((tensor for tensor in header.tensors if tensor.name == output), None)
    spec = LEVEL_BY_NAME[level]
    main = TYPE_BY_NAME[spec.main_type]
    if (
        tensor is None
        or output in logged
        or types[output] != "q8_0"
        or tensor.dims[0] % main.block == 0
        or spec.family == "fp4"
        or header.text("general.architecture") == "falcon"
    ):
        return {}
    return {output: ("q5_K" if level in _Q5_OUTPUT else "q6_K", "q8_0")}


def tensors_that_need_imatrix(plan: Plan, header: GgufHeader) -> list[str]:
    """Return the tensors that llama.cpp refuses to quantize to their planned type without an entry in the imatrix."""
    strict = _IMATRIX_TYPES | ({"q2_K"} if plan.level == "Q2_K_S" else set())
    return [
        tensor.name
        for tensor in header.tensors
        if plan.types[tensor.name] in strict
        and plan.types[tensor.name] != tensor.type.name
        and tensor.name not in _EMBEDDINGS | {_OUTPUT}
    ]


def tensors_that_misfit(plan: Plan, header: GgufHeader, lengths: dict[str, int]) -> list[str]:
    """Return the tensors to be quantized for which the imatrix has an entry of another length.

    Args:
        lengths: tensor -> values of its imatrix entry.
    """
    return [
        tensor.name
        for tensor in header.tensors
        if plan.types[tensor.name] != tensor.type.name
        and tensor.name not in _EMBEDDINGS
        and tensor.name in lengths
        and lengths[tensor.name] != tensor.dims[0] * (tensor.dims[2] if len(tensor.dims) > 2 else 1)
    ]
