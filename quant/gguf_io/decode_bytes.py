"""What one decoded token reads: bandwidth divided by the bytes bounds decode of one sequence, a token per pass.

Every matrix is read once per token, with three exceptions. Of look-up tables one row is read. A tied output matrix is
the embedding itself, which is then read once in full. Of a mixture of experts only the chosen experts are read.
"""

import re
from collections.abc import Mapping

from quant.gguf_io.header import GgufHeader
from quant.gguf_io.types import TYPE_BY_NAME

_OUTPUT = "output.weight"
_EMBEDDING = "token_embd.weight"
# Source: LLM_TENSOR_INFOS in src/llama-arch.cpp of the pinned llama.cpp: those whose operation is GGML_OP_GET_ROWS.
_TABLES = {"position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"}
_EXPERTS = re.compile(r"_exps\.(?:weight|bias|scale)$")


def decode_weight_bytes(header: GgufHeader, arch: str, types: Mapping[str, str] | None = None) -> int:
    """Return the bytes of weights that a decode step of one token reads.

    Args:
        header: the file's.
        arch: its architecture, the prefix of its keys.
        types: by tensor name, to replace the types in the file.
    """
    tied = all(tensor.name != _OUTPUT for tensor in header.tensors)
    chosen = _Chosen(header, arch)
    total = 0
    for tensor in header.tensors:
        if tensor.name in _TABLES or (tensor.name == _EMBEDDING and not tied):
            continue
        n_bytes = tensor.nbytes if types is None else TYPE_BY_NAME[types[tensor.name]].nbytes(tensor.dims)
        total += chosen.of(tensor.name, n_bytes)
    return total


def n_params_active(header: GgufHeader, arch: str) -> int:
    """Return the number of parameters that one token uses: all but those of the experts it does not choose."""
    chosen = _Chosen(header, arch)
    return sum(chosen.of(tensor.name, tensor.n_weights) for tensor in header.tensors)


class _Chosen:
    """How many of its experts a model chooses for a token."""

    def __init__(self, header: GgufHeader, arch: str) -> None:
        self._n_experts = header.whole(f"{arch}.expert_count") or 0
        self._n_used = min(header.whole(f"{arch}.expert_used_count") or self._n_experts, self._n_experts)

    def of(self, name: str, number: int) -> int:
        """Return the chosen experts' part of a tensor's bytes or values; of other tensors all."""
        if self._n_experts and _EXPERTS.search(name):
            return number * self._n_used // self._n_experts
        return number
