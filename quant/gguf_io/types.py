"""The types of tensors in GGUF files, and their sizes.

Not gguf's GGML_QUANT_SIZES: in gguf 0.19 it lacks q2_0 and has another size for q8_1 than the pinned llama.cpp, and
importing gguf imports numpy, which takes most of a second on a small board.
"""

import math
from typing import NamedTuple


class GgmlType(NamedTuple):
    """A type stores `block` weights of a row in `block_bytes` bytes.

    Source: enum ggml_type and the type traits of ggml.c in the pinned llama.cpp; a contract test compares them.
    """

    number: int
    name: str  # as ggml writes it
    block: int
    block_bytes: int

    @property
    def is_quantized(self) -> bool:
        """Whether the weights of a block share a scale; plain floats and integers do not."""
        return self.block > 1

    def nbytes(self, dims: tuple[int, ...]) -> int:
        """Return the bytes of a tensor; `dims` has the row length first, a multiple of the block."""
        return math.prod(dims) // self.block * self.block_bytes


GGML_TYPES = (
    GgmlType(0, "f32", 1, 4),
    GgmlType(1, "f16", 1, 2),
    GgmlType(2, "q4_0", 32, 18),
    GgmlType(3, "q4_1", 32, 20),
    GgmlType(6, "q5_0", 32, 22),
    GgmlType(7, "q5_1", 32, 24),
    GgmlType(8, "q8_0", 32, 34),
    GgmlType(9, "q8_1", 32, 36),
    GgmlType(10, "q2_K", 256, 84),
    GgmlType(11, "q3_K", 256, 110),
    GgmlType(12, "q4_K", 256, 144),
    GgmlType(13, "q5_K", 256, 176),
    GgmlType(14, "q6_K", 256, 210),
    GgmlType(15, "q8_K", 256, 292),
    GgmlType(16, "iq2_xxs", 256, 66),
    GgmlType(17, "iq2_xs", 256, 74),
    GgmlType(18, "iq3_xxs", 256, 98),
    GgmlType(19, "iq1_s", 256, 50),
    GgmlType(20, "iq4_nl", 32, 18),
    GgmlType(21, "iq3_s", 256, 110),
    GgmlType(22, "iq2_s", 256, 82),
    GgmlType(23, "iq4_xs", 256, 136),
    GgmlType(24, "i8", 1, 1),
    GgmlType(25, "i16", 1, 2),
    GgmlType(26, "i32", 1, 4),
    GgmlType(27, "i64", 1, 8),
    GgmlType(28, "f64", 1, 8),
    GgmlType(29, "iq1_m", 256, 56),
    GgmlType(30, "bf16", 1, 2),
    GgmlType(34, "tq1_0", 256, 54),
    GgmlType(35, "tq2_0", 256, 66),
    GgmlType(39, "mxfp4", 32, 17),
    GgmlType(40, "nvfp4", 64, 36),
    GgmlType(41, "q1_0", 128, 18),
    GgmlType(42, "q2_0", 64, 18),
)
TYPE_BY_NUMBER = {kind.number: kind for kind in GGML_TYPES}
TYPE_BY_NAME = {kind.name: kind for kind in GGML_TYPES}
