"""The tensors of llama-like decoders, which half of all families are."""

from collections.abc import Iterator
from typing import Literal

from quant.convert.families.base import Config, head_dim, is_tied, n_head_kv, need
from quant.convert.families.planned import Interleaved, Planned


def decoder_tensors(
    config: Config,
    *,
    qkv_bias: bool = False,
    output_bias: bool = False,
    mlp_bias: bool = False,
    interleave: bool = False,
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm"),
    qk_norms: Literal["head", "row"] | None = None,
    final_norm: bool = True,
    plus: float = 0.0,
    head: bool = True,
) -> Iterator[Planned]:
    """Give the tensors in the order of the layers.

    Args:
        interleave: rotary halves of queries and keys alternate in GGUF (llama's layout, not NeoX').
        norms: the layer's norms over the whole width, by their names in the checkpoint.
        qk_norms: norms of queries and keys, either over each head or over all heads at once.
        plus: what is added to every norm's values.
        head: whether an output matrix can be there.
    """
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    size = head_dim(config)
    heads, heads_kv = need(config, "num_attention_heads"), n_head_kv(config)
    queries = Interleaved(heads) if interleave else None
    keys = Interleaved(heads_kv) if interleave else None
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        for name, rows, columns, bias, order in (
            ("self_attn.q_proj", heads * size, n_embd, qkv_bias, queries),
            ("self_attn.k_proj", heads_kv * size, n_embd, qkv_bias, keys),
            ("self_attn.v_proj", heads_kv * size, n_embd, qkv_bias, None),
            ("self_attn.o_proj", n_embd, heads * size, output_bias, None),
            ("mlp.gate_proj", n_ff, n_embd, mlp_bias, None),
            ("mlp.up_proj", n_ff, n_embd, mlp_bias, None),
            ("mlp.down_proj", n_embd, n_ff, mlp_bias, None),
        ):
            yield Planned(name=f"{block}.{name}.weight", shape=(rows, columns), order=order)
            if bias:
                yield Planned(name=f"{block}.{name}.bias", shape=(rows,), order=order)
        if qk_norms is not None:
            for name, n_norm in (("q_norm", heads * size), ("k_norm", heads_kv * size)):
                shape = (size if qk_norms == "head" else n_norm,)
                yield Planned(name=f"{block}.self_attn.{name}.weight", shape=shape, plus=plus, is_norm=True)
        for name in norms:
            yield Planned(name=f"{block}.{name}.weight", shape=(n_embd,), plus=plus, is_norm=True)
    if final_norm:
        yield Planned(name="model.norm.weight", shape=(n_embd,), plus=plus, is_norm=True)
    if head:
        yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))
