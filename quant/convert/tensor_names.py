"""The checkpoint's names of tensors, brought to those that its family uses, and what to say where they do not fit."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from quant.base.errors import UserError
from quant.base.text import one_line
from quant.convert.families.planned import Planned
from quant.convert.safetensors_file import Tensor

OUTPUT = "output.weight"  # the output matrix, in GGUF
_TEXT_PARTS = ("language_model.", "text_model.")
_LEAST_COMMON = 2  # names that end in the same two parts are of one kind: "embed_tokens.weight"
_MOST_TRIED = 8
_NAME_CHARS = 120
_ADAPTERS = (".lora_", ".base_layer.", "lora_magnitude_vector", "modules_to_save.")


def text_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the text model's tensors of a multimodal model, by their usual names."""
    if not any(part in name for name in tensors for part in _TEXT_PARTS):
        return dict(tensors)
    return {
        name.replace(_TEXT_PARTS[0], "").replace(_TEXT_PARTS[1], ""): tensor
        for name, tensor in tensors.items()
        if name.startswith("lm_head.") or any(part in name for part in _TEXT_PARTS)
    }


def usual_names(tensors: Mapping[str, Tensor], planned: Sequence[Planned]) -> dict[str, Tensor]:
    """Return the tensors by the names that are planned, if all of theirs have one prefix too much, too few or another.

    torch.compile adds `_orig_mod.`, training in parallel `module.`, peft `base_model.model.`; a base model without
    output matrix is saved without `model.`. Where no prefix makes all names fit, the names stay.
    """
    wanted = {name: None for each in planned for name in each.sources}
    needed = {name for each in planned if not _may_miss(each) for name in each.sources}
    if not needed <= tensors.keys():
        for old, new in _prefixes(tensors, next(iter(wanted), "")):
            renamed = {_renamed(name, old, new, wanted): tensor for name, tensor in tensors.items()}
            if len(renamed) == len(tensors) and needed <= renamed.keys():
                return renamed
    return dict(tensors)


def as_stored(planned: Sequence[Planned], tensors: Collection[str]) -> list[Planned]:
    """Return the tensors in the form that a checkpoint has: a matrix per expert, or those of all in one tensor."""
    there = {_in_layer(name) for name in tensors}
    return [each.merged if each.merged and _in_layer(each.merged.name) in there else each for each in planned]


def as_saved(planned: Sequence[Planned], tensors: Collection[str]) -> list[Planned]:
    """Return the tensors, made of the one that stands for their own where only that was saved."""
    return [
        msgspec.structs.replace(each, name=each.instead)
        if each.instead in tensors and each.name not in tensors
        else each
        for each in planned
    ]


def _in_layer(name: str) -> str:
    """Return a tensor's name from the number of its layer on, without what a larger model puts before it."""
    return name.rpartition("layers.")[2]


def _may_miss(planned: Planned) -> bool:
    return planned.optional or planned.target == OUTPUT


def _prefixes(tensors: Mapping[str, Tensor], anchor: str) -> Iterator[tuple[str, str]]:
    """Yield pairs of a prefix that is there and the one that should be, by the names that end as `anchor` does."""
    tried = 0
    for name in tensors:
        n_common = _n_common(name, anchor)
        if n_common >= _LEAST_COMMON and tried < _MOST_TRIED:
            tried += 1
            yield _start(name, n_common), _start(anchor, n_common)


def _n_common(one: str, other: str) -> int:
    """Return how many parts between dots two names have in common at their ends."""
    pairs = zip(reversed(one.split(".")), reversed(other.split(".")), strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), min(one.count("."), other.count(".")) + 1)


def _start(name: str, n_common: int) -> str:
    return "".join(f"{part}." for part in name.split(".")[:-n_common])


def _renamed(name: str, old: str, new: str, wanted: Collection[str]) -> str:
    if not name.startswith(old):
        return name
    bare = name.removeprefix(old)
    # The output matrix stands beside the model, without its prefix.
    return bare if bare in wanted and new + bare not in wanted else new + bare


def missing_error(folder: object, missing: Sequence[str], tensors: Mapping[str, Tensor]) -> UserError:
    """Return the error for tensors that a checkpoint lacks; it names one that is there."""
    if adapted := next((name for name in tensors if is_adapters(name)), None):
        return adapter_error(folder, adapted)
    lacks = f"{folder} lacks {len(missing)} tensors that its config asks for, such as {missing[0]}"
    near = max(tensors, key=lambda name: _n_common(name, missing[0]), default=None)
    if near is None:
        return UserError(f"{lacks}, and has none; download the checkpoint again")
    there = f"{lacks}; it has {one_line(near, _NAME_CHARS)}"
    if _n_common(near, missing[0]) >= _LEAST_COMMON and not _same_layer_kind(near, missing[0]):
        return UserError(f"{there}: save the model again under the names of its architecture")
    return UserError(f"{there}, for example; download the checkpoint again")


def _same_layer_kind(near: str, missing: str) -> bool:
    """Return whether two names differ in their numbers only: one layer's tensor is there, another's is missing."""
    return _without_numbers(near) == _without_numbers(missing)


def _without_numbers(name: str) -> list[str]:
    return [part for part in name.split(".") if not part.isdecimal()]


def adapter_error(folder: object, name: str) -> UserError:
    """Return the error for an adapter's tensor among a model's."""
    return UserError(
        f"{folder} has the tensor {one_line(name, _NAME_CHARS)} of an adapter that is not merged; "
        "pass the base model with --adapter, or merge it (merge_and_unload in peft) and save the model again"
    )


def is_adapters(name: str) -> bool:
    """Return whether a tensor is an adapter's."""
    return any(part in name for part in _ADAPTERS)
