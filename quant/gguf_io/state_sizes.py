"""The size of the state that recurrent layers keep for a sequence, however long it is.

Source: n_embd_r and n_embd_s in src/llama-hparams.cpp, llm_arch_is_recurrent and llm_arch_is_hybrid in
src/llama-arch.cpp, and create_memory in src/llama-model.cpp of the pinned llama.cpp.
"""

from quant.gguf_io.header import GgufHeader

_FLOAT_BYTES = 4  # llama.cpp keeps states in float32
_RECURRENT = {"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}
_BESIDE_ATTENTION = {"falcon-h1"}  # attention and a state in each layer
# In some layers: those without key and value heads, and without a feed-forward part where that is a layer of its own.
_BY_HEADS = {"lfm2", "lfm2moe", "granitehybrid", "jamba", "nemotron_h", "nemotron_h_moe", "plamo2"}
_ONE_OF_EACH = {"nemotron_h", "nemotron_h_moe"}
# In all layers but the last of each group, unless they are listed.
_BY_GROUP = {"qwen3next", "qwen35", "qwen35moe"}
_USUAL_GROUP = 4  # layers
_OWN_OF_GEMMA3N = 20  # layers that keep keys and values, which the others use. Source: src/models/gemma3n.cpp
_USUAL_SHIFTS = 2  # of tokens in RWKV


def cached_layers(header: GgufHeader, arch: str, n_layer: int) -> tuple[bool, ...]:
    """Return for each layer whether it may keep keys and values: no state, nor those of an earlier layer."""
    if arch in _BESIDE_ATTENTION:
        return (True,) * n_layer
    if arch in ("gemma3n", "gemma4"):
        shared = header.whole(f"{arch}.attention.shared_kv_layers") or 0
        n_own = _OWN_OF_GEMMA3N if arch == "gemma3n" else n_layer - shared
        return tuple(layer < n_own for layer in range(n_layer))
    return tuple(not recurrent for recurrent in recurrent_layers(header, arch, n_layer))


def recurrent_layers(header: GgufHeader, arch: str, n_layer: int) -> tuple[bool, ...]:
    """Return for each layer whether it keeps a state."""
    if arch in _RECURRENT | _BESIDE_ATTENTION:
        return (True,) * n_layer
    if arch in _BY_GROUP:
        listed = header.metadata.get(f"{arch}.attention.recurrent_layers")
        if isinstance(listed, tuple) and len(listed) == n_layer:
            return tuple(bool(each) for each in listed)
        group = header.whole(f"{arch}.full_attention_interval") or _USUAL_GROUP
        return tuple((layer + 1) % group != 0 for layer in range(n_layer))
    if arch not in _BY_HEADS:
        return (False,) * n_layer
    heads = header.wholes(f"{arch}.attention.head_count_kv", n_layer) or (1,) * n_layer
    widths = header.wholes(f"{arch}.feed_forward_length", n_layer) if arch in _ONE_OF_EACH else None
    return tuple(not n_heads and not (widths and widths[layer]) for layer, n_heads in enumerate(heads))


def state_bytes(header: GgufHeader, arch: str, n_layer: int, n_embd: int) -> int:
    """Return the bytes of one sequence's state; 0 without recurrent layers."""
    n_layers = sum(recurrent_layers(header, arch, n_layer))
    return n_layers * _FLOAT_BYTES * sum(_values(header, arch, n_embd)) if n_layers else 0


def _values(header: GgufHeader, arch: str, n_embd: int) -> tuple[int, int]:
    """Return a layer's values that are shifted in (of a convolution or the last tokens), and those that are updated."""

    def size(key: str) -> int:
        return header.whole(f"{arch}.{key}") or 0

    if head_size := size("wkv.head_size"):
        return (size("token_shift_count") or _USUAL_SHIFTS) * n_embd, n_embd * head_size
    if width := size("shortconv.l_cache"):
        return n_embd * (width - 1), 0
    inner, state = size("ssm.inner_size"), size("ssm.state_size")
    channels = inner + 2 * size("ssm.group_count") * state
    return max(size("ssm.conv_kernel") - 1, 0) * channels, state * inner
