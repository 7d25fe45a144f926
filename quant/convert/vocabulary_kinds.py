"""Kinds of vocabulary, by tokenizer.ggml.model of a GGUF file, and how the config of a shape names its own."""

from collections.abc import Mapping
from typing import Any

BPE, SENTENCEPIECE = "gpt2", "llama"
# All kinds of vocabulary that llama.cpp loads, and whether each token has a score. A few names more stand for BPE.
# Source: impl::load in src/llama-vocab.cpp of the pinned llama.cpp.
KINDS = {BPE: False, SENTENCEPIECE: True, "bert": False, "t5": True, "rwkv": False, "plamo2": True}
VOCABULARY_KEY = "slmprof_vocabulary"  # in the config of a shape: the kind, where it is not BPE


def kind_of_shape(config: Mapping[str, Any]) -> str:
    """Return the kind of vocabulary that a shape's files have, one of `KINDS`."""
    kind = config.get(VOCABULARY_KEY)
    return kind if isinstance(kind, str) and kind in KINDS else BPE
