"""The checkpoints that both converters convert: every way in which the members of a family differ.

One module per family, with `VARIANTS`; a new family is one module here and one in quant/convert/families.
"""

import importlib
import json
import pkgutil
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.checkpoints import Form, write_checkpoint


class Variant(NamedTuple):
    """One checkpoint to write."""

    config: dict[str, Any]  # all of config.json; vocab_size is the tokenizer's size too
    dtype: str = "bfloat16"
    shards: int = 1
    tokenizer: str = "bpe"  # "bpe" | "spm" | the name of a writer in tests/support/vocabularies.py
    pre: str = "gpt-2"  # llama.cpp's name of the pre-tokenizer, passed to both sides
    oracle_config: dict[str, Any] | None = None  # changes to the config for llama.cpp's converter, None removes a key
    oracle_fails: bool = False  # llama.cpp's own converter cannot convert it, and ours can
    no_logits: str | None = None  # why transformers cannot compute it
    transformers: int = 4  # the first version that has the class: 4 or 5
    prefix: str = ""  # of the text model's tensors inside a larger model
    tolerance: float = 1e-3  # of the logits' spread
    arithmetic: tuple[str, ...] = ()  # of llama.cpp, used in transformers too; see tests/parity/drivers/logits.py
    own_keys: tuple[str, ...] = ()  # that llama.cpp reads, and that its converter omits or gets wrong
    more_tensors: dict[str, tuple[int, ...]] | None = None  # that the family omits, or larger ones than it needs
    equivalent: Callable[[Path, Path], Path] | None = None  # writes a model that transformers has, returns its folder
    bare: bool = False  # whether the tensors' names lack the family's prefix
    merged: bool = False  # whether the matrices of all experts are one tensor
    qk_norm: float = 1.0  # the mean of the weights of the norms of queries and keys

    @property
    def style(self) -> str:
        """The pre-tokenizer of a BPE."""
        return self.pre


def variants() -> dict[str, Variant]:
    """Return all variants by name, family by family."""
    found: dict[str, Variant] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for name, variant in importlib.import_module(f"{__name__}.{module}").VARIANTS.items():
            assert name not in found
            found[name] = variant
    return found


def make_variant(name: str, folder: Path) -> Path:
    """Write a checkpoint if the folder lacks it, and return its folder."""
    variant = variants()[name]
    checkpoint = folder / name
    if not (checkpoint / "config.json").exists():
        form = {field.name: getattr(variant, field.name) for field in fields(Form) if hasattr(variant, field.name)}
        write_checkpoint(checkpoint, variant.config, **form)
    return checkpoint


def for_oracle(name: str, checkpoint: Path) -> Path:
    """Return a copy with the config that llama.cpp's converter understands, or the checkpoint itself."""
    changes = variants()[name].oracle_config
    if changes is None:
        return checkpoint
    copy = checkpoint.with_name(f"{name}.oracle") / name
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(checkpoint, copy)
    config = {**json.loads((copy / "config.json").read_text()), **changes}
    (copy / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return copy
