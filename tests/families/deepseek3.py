"""DeepSeek-V3: experts by sigmoid and bias, in groups and not; layers that predict further tokens; each type."""

from typing import Any

from tests.families import Variant
from tests.families.deepseek2 import LATENT
from tests.support.checkpoints import as_transformers5, decoder_config

NEXT = {
    f"model.layers.2.{name}.weight": shape
    for name, shape in (("enorm", (64,)), ("eh_proj", (64, 128)), ("shared_head.head", (512, 64)))
}


def config(*, groups: tuple[int, int] = (1, 1), **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small DeepSeek-V3; experts are chosen in some of the `groups`."""
    experts = LATENT | {
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "num_experts_per_tok": 3,
        "first_k_dense_replace": 1,
        "norm_topk_prob": True,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "n_group": groups[0],
        "topk_group": groups[1],
        "routed_scaling_factor": 2.446,
    }
    return decoder_config("DeepseekV3ForCausalLM", "deepseek_v3", **{"tie": False, "kv_heads": 4, **shape}) | experts


def _without_scores(made: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in made.items() if key not in ("scoring_func", "topk_method")}


VARIANTS = {
    "deepseek3-bf16": Variant(config(), pre="deepseek-v3"),
    "deepseek3-groups-f32": Variant(config(groups=(4, 2)), dtype="float32", shards=2, pre="deepseek-v3"),
    "deepseek3-next-f16": Variant(
        config() | {"num_nextn_predict_layers": 1}, dtype="float16", more_tensors=NEXT, pre="deepseek-v3"
    ),
    "deepseek3-transformers5": Variant(
        as_transformers5(_without_scores(config())), pre="deepseek-v3", own_keys=("deepseek2.expert_gating_func",)
    ),
}
