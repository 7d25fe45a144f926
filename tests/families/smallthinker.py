"""SmallThinker: no windows and windows in three of four layers, both kinds of scores, tied and not, each type."""

from typing import Any

from tests.families import Variant
from tests.families.deepseek import NO_CLASS
from tests.support.checkpoints import decoder_config


def config(*, windows: bool = False, softmax: bool = False, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small SmallThinker."""
    made = decoder_config("SmallThinkerForCausalLM", "smallthinker", **{"head_dim": 16, **shape})
    n_layers = made["num_hidden_layers"]
    mixed = [int(layer % 4 > 0) for layer in range(n_layers)]
    kept = {key: value for key, value in made.items() if key not in ("intermediate_size", "hidden_act")}
    return kept | {
        "moe_num_primary_experts": 6,
        "moe_num_active_primary_experts": 2,
        "moe_ffn_hidden_size": 48,
        "moe_primary_router_apply_softmax": softmax,
        "moe_enable_early_router": True,
        "moe_enable_secondary_experts": False,
        "norm_topk_prob": True,
        "rope_layout": mixed if windows else [1] * n_layers,
        "rope_scaling": None,
        "sliding_window_layout": mixed if windows else [0] * n_layers,
        "sliding_window_size": 4096,
    }


VARIANTS = {
    "smallthinker-tied-bf16": Variant(config(), pre="qwen2", no_logits=NO_CLASS),
    "smallthinker-windows-f32": Variant(
        config(windows=True, layers=5, tie=False), dtype="float32", pre="qwen2", no_logits=NO_CLASS
    ),
    "smallthinker-f16-softmax": Variant(
        config(softmax=True, kv_heads=4, head_dim=32), dtype="float16", shards=2, pre="qwen2", no_logits=NO_CLASS
    ),
}
