"""GemmaForCausalLM: Gemma and CodeGemma. Norm weights are stored as weight - 1; the output is the embedding.

Source: conversion/gemma.py of the pinned llama.cpp.
"""

from pathlib import Path

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, head_dim, n_head_kv, number
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_counts, write_unusual_rope_keys
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

# autoawq stores the output matrix separately, although it is the embedding.
IGNORED = ("lm_head.weight",)
_END_OF_TURN = 107


class SpacedVocabulary(Vocabulary, kw_only=True):
    """A SentencePiece vocabulary without add_space_prefix."""

    end_of_turn: gguf.SpecialVocab | None = None

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Add all tokenizer.* keys; those of this family come last."""
        super().write(writer)
        if self.end_of_turn is not None:
            self.end_of_turn.add_to_gguf(writer, quiet=True)
        writer.add_add_space_prefix(False)


def spaced_vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary; a byte-level one has no add_space_prefix key."""
    found = load_vocabulary(folder, config, pre=pre)
    if found.model != "llama":
        return found
    found.add_space_prefix = None  # written last
    return SpacedVocabulary(**{name: getattr(found, name) for name in found.__struct_fields__})


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary, whose token 107 ends a turn.

    llama.cpp's converter also names the fill-in-the-middle tokens, for which gguf has no keys.
    """
    found = spaced_vocabulary(folder, config, pre)
    if isinstance(found, SpacedVocabulary):
        try:
            special = gguf.SpecialVocab(folder, special_token_types=("eot",))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{folder} has an invalid end-of-turn token ({str(error)[:80]})") from error
        special.special_token_ids.setdefault("eot", _END_OF_TURN)
        special.chat_template = None
        found.end_of_turn = special
    return found


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the keys in gemma's order; the rotary base only if it is not llama.cpp's default."""
    write_counts(
        writer, config, "context_length", "embedding_length", "block_count", "feed_forward_length", "head_count"
    )
    writer.add_head_count_kv(n_head_kv(config))
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps"))
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    write_unusual_rope_keys(writer, config)
    writer.add_file_type(file_type)


FAMILY = Family(
    architectures=("GemmaForCausalLM",),
    model_types=("gemma",),
    arch="gemma",
    # Early configs have "gelu" and mean the approximation.
    computed={"hidden_act": (None, "gelu_pytorch_tanh", "gelu")},
    defaults={  # transformers' GemmaConfig (4.57)
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    },
    tensors=Decoder(norm_offset=1.0, head=False).tensors,
    write_keys=write_keys,
    vocabulary=vocabulary,
    ignored=IGNORED,
)
