"""The tensors of decoders that name them as GPT-2 does: one matrix of queries, keys and values, biases everywhere."""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import Config, is_tied, need, number
from quant.convert.families.planned import Planned, weight_and_bias

EMBEDDING, OUTPUT = "transformer.wte.weight", "lm_head.weight"
# GGUF's keys of counts, by the settings.
_COUNTS = {
    "n_layer": "block_count",
    "n_positions": "context_length",
    "n_embd": "embedding_length",
    "n_inner": "feed_forward_length",
    "n_head": "head_count",
}


class Gpt(msgspec.Struct, frozen=True, kw_only=True):
    """How a family differs from GPT-2."""

    heads_kv: str | int = "n_head"  # the number of keys, or the setting that has it
    positions: bool = True  # whether positions are learned
    transposed: bool = False  # as Conv1D stores matrices
    gated: bool = False  # whether the feed-forward part has a gate

    def tensors(self, config: Config) -> Iterator[Planned]:
        """Yield the config's tensors."""
        n_embd, n_vocab = need(config, "n_embd"), need(config, "vocab_size")
        yield Planned(name=EMBEDDING, shape=(n_vocab, n_embd))
        if self.positions:
            yield Planned(name="transformer.wpe.weight", shape=(need(config, "n_positions"), n_embd))
        for layer in range(need(config, "n_layer")):
            yield from self._layer(config, f"transformer.h.{layer}")
        yield from weight_and_bias("transformer.ln_f", (n_embd,))
        yield Planned(name=OUTPUT, shape=(n_vocab, n_embd), optional=is_tied(config))

    def _layer(self, config: Config, block: str) -> Iterator[Planned]:
        n_embd, n_ff = need(config, "n_embd"), need(config, "n_inner")
        heads_kv = need(config, self.heads_kv) if isinstance(self.heads_kv, str) else self.heads_kv
        n_kv = n_embd // need(config, "n_head") * heads_kv
        for name, shape in (
            ("ln_1", (n_embd,)),
            ("attn.c_attn", (n_embd + 2 * n_kv, n_embd)),
            ("attn.c_proj", (n_embd, n_embd)),
            ("ln_2", (n_embd,)),
            ("mlp.c_fc", (n_ff, n_embd)),
            *((("mlp.c_fc2", (n_ff, n_embd)),) if self.gated else ()),
            ("mlp.c_proj", (n_embd, n_ff)),
        ):
            yield from weight_and_bias(f"{block}.{name}", shape, transposed=self.transposed and len(shape) > 1)


def write_gpt_keys(writer: gguf.GGUFWriter, config: Config, file_type: int, *, heads_kv: int | None = None) -> None:
    """Add the keys of these decoders: of GPT-2, or in the order of those that have a number of keys."""
    widths = ("n_positions", "n_embd", "n_inner")
    for setting in ("n_layer", *widths, "n_head") if heads_kv is None else (*widths, "n_layer", "n_head"):
        getattr(writer, f"add_{_COUNTS[setting]}")(need(config, setting))
    if heads_kv is not None:
        writer.add_head_count_kv(heads_kv)
    writer.add_layer_norm_eps(number(config, "layer_norm_epsilon"))
    writer.add_file_type(file_type)
