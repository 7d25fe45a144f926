"""CodeShell: the output matrix alone and both, one group and several."""

from typing import Any

from tests.families import Variant
from tests.support.dense_equivalents import codeshell_as_starcoder2


def variant(changes: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a StarCoder2."""
    made: dict[str, Any] = {
        "architectures": ["CodeShellForCausalLM"],
        "model_type": "codeshell",
        "vocab_size": 512,
        "n_positions": 128,
        "n_embd": 64,
        "n_layer": 3,
        "n_head": 4,
        "n_inner": 256,
        "num_query_groups": 2,
        "group_query_attention": True,
        "position_embedding_type": "rope",
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_pytorch_tanh",
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return Variant(made | changes, equivalent=codeshell_as_starcoder2, **more)


VARIANTS = {
    "codeshell-tied-bf16": variant({}),
    "codeshell-untied-f32": variant(
        {"tie_word_embeddings": False, "n_layer": 2, "num_query_groups": 1}, dtype="float32"
    ),
    "codeshell-odd-heads-f16": variant(
        {"n_embd": 96, "n_head": 6, "num_query_groups": 3, "n_inner": 384}, dtype="float16", shards=3
    ),
    "codeshell-inner-width": variant({"n_inner": 160}, own_keys=("codeshell.feed_forward_length",)),
}
