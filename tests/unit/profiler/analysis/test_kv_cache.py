"""The KV cache's bytes against sums worked out by hand from published shapes."""

import pytest

from profiler.analysis.kv_cache import CacheLayer, kv_cache_bytes, padded_cells, windowed_cells
from profiler.records.config import base_config

MIB = 1 << 20


def size(layers, *, flash_attn=True, **changes):
    return kv_cache_bytes(layers, base_config(**({"n_ctx": 2048} | changes)), flash_attn=flash_attn)


def test_plain_layers_keep_a_key_and_a_value_for_each_head():
    # Qwen2-0.5B: 24 layers of 2 heads of 64. 2048 * 24 * 2 * 64 * 2 * 2 bytes.
    assert size([CacheLayer(2, 64, 64)] * 24) == 24 * MIB


@pytest.mark.parametrize(("n_ctx", "n_cells"), [(1, 256), (256, 256), (257, 512), (2000, 2048)])
def test_cells_are_padded(n_ctx, n_cells):
    assert padded_cells(n_ctx) == n_cells


@pytest.mark.parametrize(
    ("n_ctx", "n_cells"),
    [
        (600, 768),  # the whole context, padded, is less than window and batch
        (1000, 1024),
        (8192, 1024),  # 512 + 512
    ],
)
def test_a_window_keeps_itself_and_one_batch(n_ctx, n_cells):
    assert windowed_cells(512, n_ctx, 512) == n_cells


def test_the_whole_cache_can_be_requested():
    layer = CacheLayer(1, 1, 1, window=512)
    assert size([layer], n_ctx=8192) == 1024 * 4
    assert size([layer], n_ctx=8192, swa_full=True) == 8192 * 4


def test_layers_with_and_without_windows_add_up():
    # Gemma-3-1B: 26 layers of one head of 256, every sixth sees all. At 2048: 4 * 2048 and 22 * 1024 cells of 1 KiB.
    layers = [CacheLayer(1, 256, 256, None if (layer + 1) % 6 == 0 else 512) for layer in range(26)]
    assert size(layers) == (4 * 2048 + 22 * 1024) * 1024 == 30 * MIB


def test_keys_and_values_may_differ_in_length_and_type():
    # MiniCPM3-4B: 62 layers of 40 heads, keys of 96 (64 without rotation, 32 with), values of 64.
    assert size([CacheLayer(40, 96, 64)] * 62) == 2048 * 62 * 40 * (96 + 64) * 2 == 1550 * MIB
    assert size([CacheLayer(2, 64, 64)] * 24, type_k="q8_0") == 12 * MIB + 12 * MIB * 17 // 32


def test_without_flash_attention_values_take_as_much_as_in_the_widest_layer():
    # OpenELM-270M's KV heads, 63 in all, 5 at most. A head's keys at 2048 are a quarter MiB.
    heads = [3] * 5 + [4] * 7 + [5] * 4
    layers = [CacheLayer(n_head, 64, 64) for n_head in heads]
    assert size(layers) == 63 * MIB // 2
    assert size(layers, flash_attn=False) == (63 + 16 * 5) * MIB // 4
