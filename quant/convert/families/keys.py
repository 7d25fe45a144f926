"""Keys that nearly all families share, and their order.

Source: set_gguf_parameters of TextModel in conversion/base.py of the pinned llama.cpp.
"""

from typing import Any

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import (
    Config,
    as_number,
    first_of,
    need,
    rope_parameters,
    with_defaults,
)

_MAX_SECTIONS = 4
_THETA = 10000.0  # llama.cpp's default


def write_common_keys(writer: gguf.GGUFWriter, config: Config, file_type: int, *, longrope: bool = False) -> None:
    """Add the keys that every decoder has; `longrope` if the family makes the tensors of the factors."""
    writer.add_block_count(need(config, "num_hidden_layers"))
    if config.get("max_position_embeddings") is not None:
        writer.add_context_length(need(config, "max_position_embeddings"))
    write_counts(writer, config, "embedding_length")
    if config.get("intermediate_size") is not None:
        write_counts(writer, config, "feed_forward_length")
    write_counts(writer, config, "head_count")
    if config.get("num_key_value_heads") is not None:
        writer.add_head_count_kv(need(config, "num_key_value_heads"))
    write_rope_keys(writer, config, longrope=longrope)
    if (epsilon := first_of(config, "rms_norm_eps", "norm_eps")) is not None:
        writer.add_layer_norm_rms_eps(as_number(epsilon, "rms_norm_eps"))
    if (epsilon := first_of(config, "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")) is not None:
        writer.add_layer_norm_eps(as_number(epsilon, "layer_norm_eps"))
    write_expert_keys(writer, config)
    if config.get("head_dim") is not None:
        writer.add_key_length(need(config, "head_dim"))
        writer.add_value_length(need(config, "head_dim"))
    writer.add_file_type(file_type)


_SCORES = {
    "sigmoid": gguf.ExpertGatingFuncType.SIGMOID,
    "softmax": gguf.ExpertGatingFuncType.SOFTMAX,
}


def write_expert_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add how many experts there are, how many compute a token and how they are chosen; nothing for dense models.

    Raises:
        UserError: llama.cpp does not know the function of the scores.
    """
    for keys, add in (
        (("num_local_experts", "num_experts", "n_routed_experts"), writer.add_expert_count),
        (("num_experts_per_tok", "num_experts_per_token", "top_k_experts"), writer.add_expert_used_count),
        (("n_group",), writer.add_expert_group_count),
        (("topk_group",), writer.add_expert_group_used_count),
    ):
        if (value := first_of(config, *keys)) is not None:
            add(0 if value == 0 else need({keys[0]: value}, keys[0]))
    score = first_of(
        config, "score_function", "scoring_func", "score_func", "moe_router_activation", "moe_router_activation_func"
    )
    if score is not None:
        if score not in _SCORES:
            raise UserError(
                f"config.json asks for experts chosen by {str(score)[:80]!r}; llama.cpp has {', '.join(_SCORES)}"
            )
        writer.add_expert_gating_func(_SCORES[score])


# GGUF's keys of counts, and the config's under their most common names.
_COUNTS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "head_count": "num_attention_heads",
}


def write_counts(writer: gguf.GGUFWriter, config: Config, *keys: str) -> None:
    """Add keys of `_COUNTS`, in the order given: it differs between llama.cpp's converters.

    Raises:
        UserError: a count is missing or no positive number.
    """
    for key in keys:
        getattr(writer, f"add_{key}")(need(config, _COUNTS[key]))


def write_rope_keys(writer: gguf.GGUFWriter, config: Config, *, longrope: bool = False) -> None:
    """Add the rotary embedding's base and its scaling.

    Raises:
        UserError: llama.cpp does not know the scaling; without it the model would silently generate wrong text.
    """
    parameters = rope_parameters(config)
    rope = parameters.get("full_attention", parameters)
    kind, factor = rope.get("rope_type"), rope.get("factor")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(as_number(factor, "factor"))
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(as_number(factor, "factor"))
        writer.add_rope_scaling_orig_ctx_len(need(rope, "original_max_position_embeddings"))
        optional = (
            ("extrapolation_factor", writer.add_rope_scaling_yarn_ext_factor),
            ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
            ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
            ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
        )
        for key, add in optional:
            value = rope.get(key, rope.get("attn_factor") if key == "attention_factor" else None)
            if value is not None:
                add(as_number(value, key))
    elif kind in ("su", "longrope") and longrope:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
    elif kind not in (None, "default", "llama3", "dynamic", "mrope", "xdrope"):
        raise UserError(f"config.json asks for the rope scaling '{kind}', which is not supported for this family")
    if (sections := parameters.get("mrope_section")) is not None:
        writer.add_rope_dimension_sections(rope_sections(sections))
    if (theta := rope.get("rope_theta")) is not None:
        writer.add_rope_freq_base(as_number(theta, "rope_theta"))
    local = parameters.get("sliding_attention")
    if isinstance(local, dict) and local.get("rope_theta") is not None:
        writer.add_rope_freq_base_swa(as_number(local["rope_theta"], "rope_theta"))


def rope_sections(sections: Any) -> list[int]:
    """Return the sections of the rotary embedding, of which llama.cpp has four: time, height, width and one more.

    Raises:
        UserError: they are no list of up to four numbers.
    """
    if not isinstance(sections, list) or not 0 < len(sections) <= _MAX_SECTIONS:
        raise UserError(f"config.json has mrope_section = {str(sections)[:80]}, which must be a list of three numbers")
    numbers = [need({"mrope_section": each}, "mrope_section") for each in sections]
    return numbers + [0] * (_MAX_SECTIONS - len(numbers))


def window_layers(config: Config, usual: int) -> list[bool]:
    """Return for each layer whether its attention has a window: by default all but the last of a group.

    Args:
        usual: the number of layers in a group in this family.

    Raises:
        UserError: layer_types is not a list of one known kind per layer.
    """
    n_layers = need(config, "num_hidden_layers")
    kinds = config.get("layer_types")
    if kinds is None:
        pattern = need(with_defaults(config, sliding_window_pattern=usual), "sliding_window_pattern")
        return [(layer + 1) % pattern != 0 for layer in range(n_layers)]
    known = ("sliding_attention", "full_attention")
    if not isinstance(kinds, list) or len(kinds) != n_layers or any(kind not in known for kind in kinds):
        raise UserError(
            f"config.json has layer_types = {str(kinds)[:80]}, which must be a list of {n_layers} times "
            f"{' or '.join(known)}"
        )
    return [kind == known[0] for kind in kinds]


def write_window_pattern(writer: gguf.GGUFWriter, config: Config, usual: int) -> None:
    """Add which layers have a window, if it is not the family's usual pattern, which llama.cpp knows.

    llama.cpp's converter writes the key for some families only, but load_swa_pattern in its src/llama-model.cpp reads
    it for all: without it, models with other patterns would silently generate wrong text.
    """
    layers = window_layers(config, usual)
    if layers != [(layer + 1) % usual != 0 for layer in range(len(layers))]:
        writer.add_sliding_window_pattern(layers)


def write_unusual_rope_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add the base and the scaling only if they differ from llama.cpp's defaults.

    For families whose converter in llama.cpp adds neither, which is wrong for the few models that differ.

    Raises:
        UserError: llama.cpp does not know the scaling.
    """
    rope = rope_parameters(config)
    kind, theta = rope.get("rope_type"), rope.get("rope_theta", _THETA)
    if kind in ("llama3", "su", "longrope"):  # these need factors of their own
        raise UserError(f"config.json asks for the rope scaling '{kind}', which is not supported for this family")
    if kind not in (None, "default") or theta != _THETA:
        write_rope_keys(writer, config)
