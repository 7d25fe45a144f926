"""Seed-OSS: biases by default and none, heads of another width, tied and not, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Seed-OSS."""
    return decoder_config("SeedOssForCausalLM", "seed_oss", **{"tie": False, "head_dim": 32, **shape})


VARIANTS = {
    "seed_oss-bf16": Variant(config(rope_theta=10000000.0) | {"attention_out_bias": False}),
    "seed_oss-no-bias-f32": Variant(
        config(hidden=48, heads=6, kv_heads=3) | {"attention_bias": False}, dtype="float32", shards=2
    ),
    "seed_oss-tied-f16": Variant(config(tie=True, kv_heads=4, head_dim=16), dtype="float16"),
    "seed_oss-transformers5": Variant(as_transformers5(config())),
}
