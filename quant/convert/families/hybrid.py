"""What models share whose layers are of several kinds: attention in some, a state in the others."""

from collections.abc import Iterator, Sequence

from quant.base.errors import UserError
from quant.convert.families.base import Config, head_dim, n_head_kv, n_heads, need
from quant.convert.families.planned import Interleaved, Planned, weight_and_bias


def layer_kinds(config: Config, key: str, known: Sequence[str]) -> list[str]:
    """Return the kind of each layer.

    Raises:
        UserError: the config does not list one known kind per layer.
    """
    kinds, n_layers = config.get(key), need(config, "num_hidden_layers")
    if not isinstance(kinds, list) or len(kinds) != n_layers or any(kind not in known for kind in kinds):
        raise UserError(
            f"config.json has {key} = {str(kinds)[:80]}, which must be a list of {n_layers} times {' or '.join(known)}"
        )
    return kinds


def attention(
    config: Config, name: str, *, output: str = "o_proj", interleave: bool = False, bias: bool = False
) -> Iterator[Planned]:
    """Yield the matrices of a layer's attention.

    Args:
        name: what their names begin with.
        output: the name of the last one.
        interleave: whether the rotary halves of queries and keys alternate in GGUF.
    """
    n_embd, size = need(config, "hidden_size"), head_dim(config)
    heads, heads_kv = n_heads(config), n_head_kv(config)
    queries, keys = (Interleaved(heads), Interleaved(heads_kv)) if interleave else (None, None)
    for part, shape, order in (
        ("q_proj", (heads * size, n_embd), queries),
        ("k_proj", (heads_kv * size, n_embd), keys),
        ("v_proj", (heads_kv * size, n_embd), None),
        (output, (n_embd, heads * size), None),
    ):
        if bias:
            yield from weight_and_bias(f"{name}.{part}", shape, order=order)
        else:
            yield Planned(name=f"{name}.{part}.weight", shape=shape, order=order)


def require_full_width(config: Config, arch: str) -> None:
    """Refuse attention heads that together are not as wide as the model.

    Raises:
        UserError: llama.cpp would refuse the file.
    """
    heads, size, n_embd = n_heads(config), head_dim(config), need(config, "hidden_size")
    if heads * size != n_embd:
        raise UserError(
            f"config.json asks for {heads} attention heads of {size} values in a width of {n_embd}; "
            f"llama.cpp's {arch} has heads that fill it"
        )
