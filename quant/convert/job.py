"""One tensor of the GGUF file, with the checkpoint's tensors that it is made of."""

from dataclasses import dataclass

from quant.convert.families.planned import Planned
from quant.convert.safetensors_file import Tensor

# Tensors that are F32 whatever the level. Source: prepare_tensors in conversion/base.py of the pinned llama.cpp.
_ALWAYS_F32 = (
    "position_embd.weight", "token_types.weight", "ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight",
    "ssm_conv1d.weight", "shortconv.conv.weight", "time_mix_first.weight", "time_mix_w1.weight", "time_mix_w2.weight",
    "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight",
    "altup_correct_coef.weight", "altup_predict_coef.weight",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One tensor of the GGUF file, and the checkpoint's tensors that it is made of."""

    planned: Planned
    sources: tuple[Tensor, ...]
    kept: str | None = None  # the ggml type in which it stays as it is stored, whatever the file's type

    @property
    def target(self) -> str:
        """The name in GGUF."""
        assert self.planned.target is not None
        return self.planned.target

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape as GGUF writes it: the row length first."""
        return self.planned.shape[::-1]

    @property
    def is_vector(self) -> bool:
        """Whether it stays F32 at every level: vectors, norms and biases."""
        return (
            len(self.planned.shape) <= 1
            or self.target.endswith(("_norm.weight", *_ALWAYS_F32))
            or not self.target.endswith(".weight")
        )

    @property
    def dtype(self) -> str:
        """The type that the checkpoint's values are read as."""
        return self.sources[0].read_dtype
