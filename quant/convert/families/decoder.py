"""The tensors of llama-like decoders, which half of the families share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from quant.convert.families.base import Config, head_dim, is_tied, n_head_kv, need
from quant.convert.families.planned import Interleaved, Planned, Shape, weight_and_bias


class Decoder(msgspec.Struct, frozen=True, kw_only=True):
    """How a family differs from the plain decoder."""

    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    gated: bool | Literal["fused"] = True  # whether the feed-forward part has a gate; fused: as rows before those of up
    mlp_names: tuple[str, str] = ("up_proj", "down_proj")  # in the checkpoint
    interleave: bool = False  # rotary halves of queries and keys alternate in GGUF (llama's layout, not NeoX's)
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")  # of a layer, over the whole width
    norm_bias: bool = False  # of these and of the final one
    qk_norms: Literal["head", "row"] | None = None  # norms of queries and keys: of each head, or of all heads together
    final_norm: bool = True
    norm_offset: float = 0.0  # added to the weights of every norm
    spare_rows: bool = False  # whether the embedding may have rows beyond the vocabulary
    head: bool = True  # whether there can be an output matrix
    # In place of the feed-forward part with one gate: config, layer -> its tensors.
    feed_forward: Callable[[Config, int], Iterator[Planned]] | None = None

    def tensors(self, config: Config, by_layer: Sequence[Config] | None = None) -> Iterator[Planned]:
        """Yield the config's tensors, layer by layer.

        Args:
            by_layer: a config for each layer, where they differ.
        """
        n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
        yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd), cut=self.spare_rows)
        for layer in range(need(config, "num_hidden_layers")):
            yield from self._layer(by_layer[layer] if by_layer else config, layer)
        if self.final_norm:
            yield from self._norm("model.norm", n_embd)
        if self.head:
            yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))

    def _layer(self, config: Config, layer: int) -> Iterator[Planned]:
        block, n_embd, size = f"model.layers.{layer}", need(config, "hidden_size"), head_dim(config)
        heads, heads_kv = need(config, "num_attention_heads"), n_head_kv(config)
        queries, keys = (Interleaved(heads), Interleaved(heads_kv)) if self.interleave else (None, None)
        for name, shape, bias, order in (
            ("self_attn.q_proj", (heads * size, n_embd), self.qkv_bias, queries),
            ("self_attn.k_proj", (heads_kv * size, n_embd), self.qkv_bias, keys),
            ("self_attn.v_proj", (heads_kv * size, n_embd), self.qkv_bias, None),
            ("self_attn.o_proj", (n_embd, heads * size), self.output_bias, None),
        ):
            if bias:
                yield from weight_and_bias(f"{block}.{name}", shape, order=order)
            else:
                yield Planned(name=f"{block}.{name}.weight", shape=shape, order=order)
        yield from (self.feed_forward or self._mlp)(config, layer)
        if self.qk_norms is not None:
            for name, n_heads in (("q_norm", heads), ("k_norm", heads_kv)):
                n_norm = size if self.qk_norms == "head" else n_heads * size
                yield Planned(name=f"{block}.self_attn.{name}.weight", shape=(n_norm,), offset=self.norm_offset)
        for name in self.norms:
            yield from self._norm(f"{block}.{name}", n_embd)

    def _mlp(self, config: Config, layer: int) -> Iterator[Planned]:
        n_embd, n_ff = need(config, "hidden_size"), need(config, "intermediate_size")
        if self.gated == "fused":
            parts: dict[str, Shape] = {"gate_up_proj": (2 * n_ff, n_embd)}
        else:
            parts = {"gate_proj": (n_ff, n_embd)} if self.gated else {}
            parts[self.mlp_names[0]] = (n_ff, n_embd)
        parts[self.mlp_names[1]] = (n_embd, n_ff)
        yield from matrices(f"model.layers.{layer}.mlp", parts, bias=self.mlp_bias)

    def _norm(self, name: str, n_embd: int) -> Iterator[Planned]:
        yield Planned(name=f"{name}.weight", shape=(n_embd,), offset=self.norm_offset)
        if self.norm_bias:
            yield Planned(name=f"{name}.bias", shape=(n_embd,))


def gated(block: str, n_embd: int, n_ff: int) -> Iterator[Planned]:
    """Yield the matrices of a feed-forward part with a gate."""
    parts: dict[str, Shape] = {"gate_proj": (n_ff, n_embd), "up_proj": (n_ff, n_embd), "down_proj": (n_embd, n_ff)}
    yield from matrices(block, parts)


def matrices(block: str, parts: Mapping[str, Shape], *, bias: bool = False) -> Iterator[Planned]:
    """Yield the weights of a part of a layer, with their biases."""
    for name, shape in parts.items():
        if bias:
            yield from weight_and_bias(f"{block}.{name}", shape)
        else:
            yield Planned(name=f"{block}.{name}.weight", shape=shape)
