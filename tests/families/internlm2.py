"""InternLM2: groups of queries and one key per query, a chat model's vocabulary, rope scaling that is not computed."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.dense_equivalents import internlm2_as_llama


def variant(
    more: dict[str, Any], *, tokenizer: str = "spm", form: dict[str, Any] | None = None, **shape: Any
) -> Variant:
    """Return a variant that transformers computes as a Llama."""
    made = decoder_config("InternLM2ForCausalLM", "internlm2", tokenizer="spm", tie=False, **shape) | {"bias": False}
    return Variant(made | more, tokenizer=tokenizer, equivalent=internlm2_as_llama, **(form or {}))


VARIANTS = {
    "internlm2-bf16": variant({}),
    "internlm2-no-groups-f32": variant({}, heads=3, kv_heads=3, hidden=48, form={"dtype": "float32"}),
    "internlm2-f16-sharded": variant({}, heads=8, kv_heads=2, layers=3, form={"dtype": "float16", "shards": 3}),
    "internlm2-chat": variant(
        {"rope_scaling": {"type": "dynamic", "factor": 1.0}},
        rope_theta=1000000.0,
        tokenizer="write_internlm2_tokenizer",
    ),
}
