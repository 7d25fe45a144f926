"""GLM-4-0414: four norms a layer, biases and none, heads of another width, tied and not, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.families.chatglm import config as glm_config
from tests.families.chatglm import transformers5, variant


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small GLM-4-0414."""
    return glm_config("Glm4ForCausalLM", "glm4", **{"epsilon": 1e-5, **shape})


VARIANTS: dict[str, Variant] = {
    "glm4-bf16": variant(config()),
    "glm4-no-bias-f32": variant(
        config(hidden=48, heads=6, kv_heads=3) | {"attention_bias": False}, dtype="float32", shards=2
    ),
    "glm4-tied-f16": variant(config(tie=True, kv_heads=4, head_dim=32), dtype="float16"),
    "glm4-transformers5": variant(transformers5(config())),
}
