"""Merge an adapter's folder into a checkpoint's tensors: some get a product added, others are saved whole.

Source: get_peft_model_state_dict in utils/save_and_load.py and get_delta_weight in tuners/lora/layer.py of peft 0.19.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from quant.base.errors import UserError
from quant.base.text import one_line
from quant.convert.adapter.lora_config import AGAIN, MERGE_WITH_PEFT, WEIGHTS, LoraConfig, read_lora_config
from quant.convert.adapter.low_rank import LowRank, merged
from quant.convert.checkpoint import Checkpoint
from quant.convert.families.planned import Planned
from quant.convert.pickled.torch_file import read_torch_file
from quant.convert.safetensors_file import Tensor, read_header
from quant.convert.tensor_names import text_tensors

_PREFIX = "base_model.model."
_WRAPPERS = ("modules_to_save.", "base_layer.")  # within names
_LINEAR = (".lora_A.weight", ".lora_B.weight")  # the ends of a pair's names
_EMBEDDING = (".lora_embedding_A", ".lora_embedding_B")
_IS_LORA = ".lora_"
# What may come before the model's own names where an adapter was trained on a class around it.
_AROUND = {"base_model", "model", "module", "transformer", "_orig_mod"}
_NAME_CHARS = 120


class _Pair(NamedTuple):
    a: Tensor
    b: Tensor
    is_embedding: bool


def with_adapter(checkpoint: Checkpoint, folder: Path, planned: Sequence[Planned]) -> Checkpoint:
    """Return a checkpoint whose tensors are read with an adapter's added to them, or in their place.

    Args:
        checkpoint: its tensors have the names that are planned.

    Raises:
        UserError: the adapter is broken, of another kind, or does not fit the model.
    """
    config = read_lora_config(folder)
    whole, pairs = _split(_tensors(folder), folder)
    tensors = dict(checkpoint.tensors)
    sources = {name for each in planned for name in each.sources}
    names = _names_in(tensors.keys() | sources, [*whole, *(f"{module}.weight" for module in pairs)], folder)
    # Whole ones first: of an embedding that is a target, peft saves the base too.
    for name, tensor in whole.items():
        _check_shape(tensors.get(names[name]), tensor.shape, names[name], folder)
        tensors[names[name]] = tensor
    inputs_first = {name for each in planned if each.transposed for name in each.sources}
    for module, pair in pairs.items():
        name = names[f"{module}.weight"]
        added = _low_rank(pair, module, config, transposed=pair.is_embedding or name in inputs_first)
        if name not in tensors:
            raise UserError(f"{folder} adds to {name}, which the model ties to its embedding; {MERGE_WITH_PEFT}")
        _check_shape(tensors[name], added.shape, name, folder)
        tensors[name] = merged(tensors[name], added)
    _widen(tensors, planned, names.values())
    kept = f"; {len(whole)} tensors are its own" if whole else ""
    note = f"{folder} is merged into {len(pairs)} matrices{kept}"
    return replace(checkpoint, tensors=tensors, notes=(*checkpoint.notes, note))


def _tensors(folder: Path) -> dict[str, Tensor]:
    """Return an adapter's tensors of the text model by their names there."""
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"{folder} has no {WEIGHTS[0]}; {AGAIN}")
    read = read_header if path.suffix == ".safetensors" else read_torch_file
    found: dict[str, Tensor] = {}
    for tensor in read(path):
        name = tensor.name.removeprefix(_PREFIX)
        for part in _WRAPPERS:
            name = name.replace(part, "")
        if not tensor.is_plain:
            raise tensor.refusal()
        if name in found:
            raise UserError(f"{path} has {one_line(name, _NAME_CHARS)} twice; {AGAIN}")
        found[name] = tensor
    if not (text := text_tensors(found)):
        raise UserError(f"{path} has no tensor of a language model; {AGAIN}")
    return text


def _split(found: Mapping[str, Tensor], folder: Path) -> tuple[dict[str, Tensor], dict[str, _Pair]]:
    """Return the tensors that are saved whole, by name, and the pairs of factors by module."""
    whole, pairs = dict(found), dict[str, _Pair]()
    for ends in (_LINEAR, _EMBEDDING):
        for name in found:
            module = name.removesuffix(ends[0])
            if module != name and module + ends[1] in found:
                pairs[module] = _Pair(whole.pop(name), whole.pop(module + ends[1]), ends is _EMBEDDING)
    left = next((name for name in whole if _IS_LORA in name), None)
    if left is not None:
        raise UserError(
            f"{folder} has {one_line(left, _NAME_CHARS)}, which is no half of a pair that is merged; {MERGE_WITH_PEFT}"
        )
    for module, pair in pairs.items():
        (a, b) = pair.a.shape, pair.b.shape
        if not (len(a) == len(b) == 2 and a[0] == b[1] and a[0]):
            raise UserError(
                f"{folder} has factors of shape {list(a)} and {list(b)} for {one_line(module, _NAME_CHARS)}, which "
                f"have no product that is a matrix; {MERGE_WITH_PEFT}"
            )
    return whole, pairs


def _names_in(model: Collection[str], names: Sequence[str], folder: Path) -> dict[str, str]:
    """Return the model's name for each of an adapter's, which may have one prefix too much or too few.

    Raises:
        UserError: the model has no such tensor, or two names are of the same one.
    """
    lacking = next((name for name in names if name not in model), None)
    old, new = next(_prefixes(lacking, model), ("", "")) if lacking is not None else ("", "")
    found = {name: name if name in model else new + name.removeprefix(old) for name in names}
    wrong = next((name for name, target in found.items() if target not in model), None)
    if wrong is not None:
        raise UserError(
            f"{folder} changes {one_line(wrong, _NAME_CHARS)}, which the model does not have; "
            "pass the base model that the adapter was trained on"
        )
    if len(set(found.values())) < len(found):
        raise UserError(f"{folder} has several tensors for one of the model's; {AGAIN}")
    return found


def _prefixes(name: str, model: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what begins an adapter's name and what the model has in its place."""
    for each in model:
        if each.endswith(f".{name}"):
            yield "", each.removesuffix(name)
        if name.endswith(f".{each}") and _AROUND.issuperset(name.removesuffix(f".{each}").split(".")):
            yield name.removesuffix(each), ""


def _low_rank(pair: _Pair, module: str, config: LoraConfig, *, transposed: bool) -> LowRank:
    return LowRank(pair.a, pair.b, config.scale(module, pair.a.shape[0]), transposed)


def _check_shape(base: Tensor | None, shape: tuple[int, ...], name: str, folder: Path) -> None:
    if base is not None and base.shape != shape:
        raise UserError(
            f"{folder} changes {name} as {list(shape)}, but the model has {list(base.shape)}; pass the base model that "
            "the adapter was trained on, or merge it with peft where it has another vocabulary"
        )


def _widen(tensors: dict[str, Tensor], planned: Sequence[Planned], changed: Collection[str]) -> None:
    """Let all parts of one matrix be read in one type where some of them are changed."""
    for each in planned:
        parts = [name for name in each.sources if name in tensors]
        if len({tensors[name].read_dtype for name in parts}) > 1 and not set(changed).isdisjoint(parts):
            for name in parts:
                if tensors[name].read_dtype != "F32":
                    tensors[name] = merged(tensors[name], None)
