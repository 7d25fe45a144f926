"""The state of recurrent layers, worked out by hand from published shapes."""

from pathlib import Path
from typing import Any

import pytest

from quant.gguf_io.header import GgufHeader
from quant.gguf_io.state_sizes import cached_layers, recurrent_layers, state_bytes


def header(arch: str, **keys: Any) -> GgufHeader:
    named = {f"{arch}.{key.replace('__', '.')}": value for key, value in keys.items()}
    return GgufHeader((Path("m.gguf"),), version=3, metadata=named, tensors=(), header_bytes=0, file_bytes=0)


# Source: config.json of LiquidAI/LFM2-1.2B: 10 convolutions of width 3 among 16 layers of width 2048.
LFM2 = {"attention__head_count_kv": (0, 0, 8) * 4 + (8, 0, 8, 0), "shortconv__l_cache": 3}
# Of state-spaces/mamba-130m-hf: width 768, 24 layers, kernels of 4, 16 states.
MAMBA = {"ssm__conv_kernel": 4, "ssm__inner_size": 1536, "ssm__state_size": 16}
# Of tiiuae/Falcon-H1-0.5B-Base: 36 layers, 1536 channels, 128 states, one group.
FALCON = MAMBA | {"ssm__state_size": 128, "ssm__group_count": 1}


@pytest.mark.parametrize(
    ("found", "arch", "n_layer", "n_embd", "n_bytes"),
    [
        (header("lfm2", **LFM2), "lfm2", 16, 2048, 10 * 4 * 2048 * 2),
        (header("mamba", **MAMBA), "mamba", 24, 768, 24 * 4 * (3 * 1536 + 16 * 1536)),
        (header("falcon-h1", **FALCON), "falcon-h1", 36, 1024, 36 * 4 * (3 * (1536 + 256) + 128 * 1536)),
        (header("rwkv7", wkv__head_size=64), "rwkv7", 12, 768, 12 * 4 * (2 * 768 + 768 * 64)),
        (header("qwen3next", **FALCON), "qwen3next", 8, 1024, 6 * 4 * (3 * (1536 + 256) + 128 * 1536)),
        (header("llama"), "llama", 8, 1024, 0),
    ],
)
def test_the_state_of_a_sequence(found: GgufHeader, arch: str, n_layer: int, n_embd: int, n_bytes: int) -> None:
    assert state_bytes(found, arch, n_layer, n_embd) == n_bytes


def test_a_layer_has_a_state_or_a_cache_or_both_or_none() -> None:
    kinds = header("nemotron_h", attention__head_count_kv=(0, 0, 2), feed_forward_length=(0, 128, 0))
    assert recurrent_layers(kinds, "nemotron_h", 3) == (True, False, False)
    assert cached_layers(header("falcon-h1"), "falcon-h1", 2) == recurrent_layers(header("falcon-h1"), "falcon-h1", 2)
    assert cached_layers(header("rwkv6qwen2"), "rwkv6qwen2", 2) == (False, False)
    assert cached_layers(header("llama"), "llama", 2) == (True, True)
    assert recurrent_layers(header("qwen35", attention__recurrent_layers=(True, False)), "qwen35", 2) == (True, False)


def test_shared_layers_keep_nothing() -> None:
    assert cached_layers(header("gemma3n"), "gemma3n", 30) == (True,) * 20 + (False,) * 10
    assert cached_layers(header("gemma4", attention__shared_kv_layers=2), "gemma4", 3) == (True, False, False)
