"""What a cell needs at least, against numbers worked out by hand from the models' published shapes."""

from typing import Any

import pytest

from profiler.analysis.kv_cache import max_kv_cache_bytes
from profiler.analysis.memory_need import compute_buffer_bytes, needed_bytes
from quant.gguf_io.artifact import Shape
from tests.support.cells import artifact, config

KIB, MIB = 1 << 10, 1 << 20
# Source: config.json of Qwen/Qwen2-0.5B, HuggingFaceTB/SmolLM2-135M and meta-llama/Llama-3.2-1B.
QWEN2_05B: dict[str, Any] = {
    "n_layer": 24,
    "n_embd": 896,
    "n_vocab": 151_936,
    "n_ctx_train": 131_072,
    "n_head": 14,
    "n_head_kv": (2,) * 24,
    "head_dim_k": 64,
    "head_dim_v": 64,
    "n_ff": (4864,) * 24,
}
SMOLLM2_135M = QWEN2_05B | {"n_layer": 30, "n_embd": 576, "n_vocab": 49_152, "n_head": 9, "n_head_kv": (3,) * 30}
LLAMA_32_1B = QWEN2_05B | {"n_layer": 16, "n_embd": 2048, "n_vocab": 128_256, "n_head": 32, "n_head_kv": (8,) * 16}


def shape(fields: dict[str, Any] | None = None, **changes: Any) -> Shape:
    return Shape(**((fields or QWEN2_05B) | changes))


@pytest.mark.parametrize(
    ("fields", "n_ctx", "n_bytes"),
    [
        (QWEN2_05B, 2048, 24 * MIB),  # 2048 cells · 24 layers · 2 heads · 64 · (2 + 2) bytes
        (QWEN2_05B, 256, 3 * MIB),
        (SMOLLM2_135M, 2048, 45 * MIB),  # 2048 · 30 · 3 · 64 · 4
        (LLAMA_32_1B, 4096, 128 * MIB),  # 4096 · 16 · 8 · 64 · 4
    ],
)
def test_the_cache_of_plain_attention(fields: dict[str, Any], n_ctx: int, n_bytes: int) -> None:
    assert max_kv_cache_bytes(shape(fields), config(n_ctx=n_ctx)) == n_bytes


@pytest.mark.parametrize(("n_ctx", "n_cells"), [(1, 256), (255, 256), (256, 256), (257, 512), (612, 768)])
def test_cells_are_padded_to_256(n_ctx: int, n_cells: int) -> None:
    assert max_kv_cache_bytes(shape(), config(n_ctx=n_ctx)) == n_cells * 12 * KIB


@pytest.mark.parametrize(
    ("type_k", "type_v", "n_bytes"),
    [
        ("f32", "f32", 48 * MIB),
        ("bf16", "f16", 24 * MIB),
        # Blocks of 32: q8_0 takes 34 bytes, q5_1 24, q5_0 22, q4_1 20, q4_0 and iq4_nl 18. At f16 a half is 12 MiB.
        ("q8_0", "q8_0", 2 * 12 * MIB * 34 // 64),
        ("q8_0", "f16", 12 * MIB * 34 // 64 + 12 * MIB),
        ("q5_1", "q5_0", 12 * MIB * 24 // 64 + 12 * MIB * 22 // 64),
        ("q4_1", "q4_0", 12 * MIB * 20 // 64 + 12 * MIB * 18 // 64),
        ("f16", "iq4_nl", 12 * MIB + 12 * MIB * 18 // 64),
    ],
)
def test_the_types_of_keys_and_values_count(type_k: str, type_v: str, n_bytes: int) -> None:
    assert max_kv_cache_bytes(shape(), config(n_ctx=2048, type_k=type_k, type_v=type_v)) == n_bytes


def test_layers_may_differ_and_so_may_the_sizes_of_keys_and_values() -> None:
    uneven = shape(n_layer=3, n_head_kv=(1, 0, 4), head_dim_k=192, head_dim_v=128)
    assert max_kv_cache_bytes(uneven, config(n_ctx=256)) == 256 * (1 + 0 + 4) * (192 + 128) * 2


@pytest.mark.parametrize("missing", ["n_head_kv", "head_dim_k", "head_dim_v"])
def test_a_header_without_heads_tells_no_cache(missing: str) -> None:
    assert max_kv_cache_bytes(shape(**{missing: None}), config()) is None


@pytest.mark.parametrize(
    ("n_outputs_max", "n_bytes"),
    [
        # 512 tokens of a micro-batch: 2 · 4864 + 4 · 896 floats each, and the logits that are kept.
        (0, 4 * (512 * 13_312 + 512 * 151_936)),
        (1, 4 * (512 * 13_312 + 1 * 151_936)),
        (9999, 4 * (512 * 13_312 + 512 * 151_936)),
    ],
)
def test_logits_rule_the_compute_buffer(n_outputs_max: int, n_bytes: int) -> None:
    assert compute_buffer_bytes(shape(), config(n_ctx=2048, n_outputs_max=n_outputs_max)) == n_bytes


@pytest.mark.parametrize(("n_outputs_max", "measured_mib"), [(0, 300), (1, 37.5)])
def test_the_compute_buffer_is_near_what_llama_cpp_sets_aside(n_outputs_max: int, measured_mib: float) -> None:
    """The measured sizes are those of Qwen2-0.5B at n_ctx 2048 on the pinned llama.cpp."""
    found = compute_buffer_bytes(shape(), config(n_ctx=2048, n_outputs_max=n_outputs_max))
    assert 0.67 < found / MIB / measured_mib < 1.5


@pytest.mark.parametrize("changes", [{"n_ubatch": 64}, {"n_batch": 64}])
def test_small_batches_need_small_buffers(changes: dict[str, int]) -> None:
    found = compute_buffer_bytes(shape(), config(n_ctx=2048, **changes))
    assert found == 4 * 64 * (13_312 + 151_936)


def test_a_header_without_the_feed_forward_size_counts_four_times_the_width() -> None:
    found = compute_buffer_bytes(shape(n_ff=None), config(n_ctx=256, n_outputs_max=1))
    assert found == 4 * (256 * (2 * 4 * 896 + 4 * 896) + 151_936)


def test_what_a_cell_needs_is_weights_cache_buffer_and_the_worker() -> None:
    file = artifact(tensor_bytes=300 * MIB, shape=shape())
    buffer_bytes = 4 * (512 * 13_312 + 151_936)
    assert needed_bytes(file, config(n_ctx=2048, n_outputs_max=1)) == (300 + 24 + 80) * MIB + buffer_bytes


def test_without_a_shape_weights_and_the_worker_are_all_that_is_known() -> None:
    assert needed_bytes(artifact(tensor_bytes=300 * MIB, shape=None), config()) == 380 * MIB


def test_without_heads_the_cache_is_left_out() -> None:
    file = artifact(tensor_bytes=0, shape=shape(n_head_kv=None))
    assert needed_bytes(file, config(n_ctx=256, n_outputs_max=1)) == 80 * MIB + 4 * (256 * 13_312 + 151_936)
