"""A checkpoint of a given shape with random weights, complete enough for every later stage.

Speed and memory of a dense model depend on its shape and types, not on the values; quality does, so the config marks
the weights as synthetic, and so does every file and record that comes of it.
"""

import json
import math
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.base.files import require_space, write_in_steps, write_problem
from quant.base.progress import progress
from quant.convert.families import architecture_of, complete_config, family_of, planned_tensors
from quant.convert.families.base import need
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.synthetic import BEGIN, END, Words, synthetic_words
from quant.convert.vocabulary_kinds import VOCABULARY_KEY
from quant.gguf_io.floats import convert_floats

_BLOCK = 1 << 20  # random values; tensors repeat them from different offsets
_DEVIATION = 0.02  # the usual initialisation: logits stay finite through any depth
_ELEMENT_BYTES = 2
_ONE, _ZERO = np.uint16(0x3F80), np.uint16(0)  # in bfloat16


def synthesize(config: dict[str, Any], target_dir: Path, *, standin_for: str, seed: int = 0) -> Path:
    """Write config.json, model.safetensors in bfloat16 and a byte-level tokenizer of the full size into a directory.

    Raises:
        UserError: the directory exists already, the architecture is unknown, the config incomplete, or the disk full.
    """
    if target_dir.exists() and (not target_dir.is_dir() or any(target_dir.iterdir())):
        raise UserError(f"{target_dir} exists and is not empty; choose another -o")
    architecture = architecture_of(config)
    family = family_of(config)
    shape = complete_config(family, config)
    words = synthetic_words(need(shape, "vocab_size"), family.arch)
    tensors = _tensors_of(planned_tensors(family, shape))
    n_elements = sum(math.prod(each.shape) for each in tensors)
    require_space(target_dir.parent, n_elements * _ELEMENT_BYTES + (64 << 20), "the synthetic checkpoint")
    try:
        target_dir.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target_dir.name[:50]}.", dir=target_dir.parent))
    except OSError as error:
        raise UserError(f"cannot write {target_dir}: {error.strerror}; choose another -o") from error
    try:
        building.chmod(0o755)
        _write_weights(building / "model.safetensors", tensors, seed)
        _write_tokenizer(building, words)
        marks = {
            "architectures": [architecture],
            "torch_dtype": "bfloat16",
            "bos_token_id": need(shape, "vocab_size") - 2,
            "eos_token_id": need(shape, "vocab_size") - 1,
            "slmprof_synthetic": True,
            "slmprof_standin_for": standin_for,
        }
        own = {key: value for key, value in config.items() if key != VOCABULARY_KEY}  # its tokenizer is BPE
        text = json.dumps({**own, **marks}, indent=2, sort_keys=True)
        (building / "config.json").write_text(text, encoding="utf-8")
        if target_dir.exists():
            target_dir.rmdir()
        building.rename(target_dir)
    except OSError as error:
        raise UserError(f"cannot write {target_dir}: {write_problem(error, 'choose another -o')}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target_dir


class _Tensor(NamedTuple):
    """One tensor of the checkpoint to be."""

    name: str
    shape: tuple[int, ...]
    value: np.uint16 | None  # bfloat16 of all values; None: random


def _tensors_of(planned: list[Planned]) -> list[_Tensor]:
    """Return the checkpoint's tensors, each once; a tied matrix is not stored twice."""
    tensors: dict[str, _Tensor] = {}
    for each in planned:
        if each.optional:
            continue
        value = (_ZERO if each.offset else _ONE) if each.is_norm else None
        for name, shape in each.source_tensors():
            tensors.setdefault(name, _Tensor(name, shape, value))
    return list(tensors.values())


def _write_weights(path: Path, tensors: list[_Tensor], seed: int) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for each in tensors:
        n_bytes = math.prod(each.shape) * _ELEMENT_BYTES
        header[each.name] = {"dtype": "BF16", "shape": list(each.shape), "data_offsets": [place, place + n_bytes]}
        place += n_bytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    normal = np.random.default_rng(seed).standard_normal(_BLOCK, dtype=np.float32) * np.float32(_DEVIATION)
    block = convert_floats(normal, "F32", "BF16")
    done = 0
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for number, each in enumerate(tensors):
            for values in _values(each, block, number):
                write_in_steps(file, values.data)
                done += values.nbytes
                progress("synthesize", done, place)


def _values(tensor: _Tensor, block: NDArray[Any], number: int) -> Iterator[NDArray[Any]]:
    """Yield a tensor's values in pieces: ones for a norm, else the block again and again from an offset of its own."""
    left = math.prod(tensor.shape)
    if tensor.value is not None:
        yield np.full(left, tensor.value)
        return
    # A prime step, so that no two tensors and no two rows begin at the same offset.
    start = number * 7919 % _BLOCK
    rotated = np.concatenate([block[start:], block[:start]])
    # One value less than the block each time: rows of a power of two in length would otherwise repeat.
    step = _BLOCK - 1
    while left > 0:
        count = min(step, left)
        yield np.ascontiguousarray(rotated[:count])
        left -= count


def _write_tokenizer(folder: Path, words: Words) -> None:
    """Write a byte-level BPE's files."""
    first = len(words.words)
    added = [
        {"id": first + index, "content": text, "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}
        for index, text in enumerate(words.special)
    ]  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {word: index for index, word in enumerate(words.words)}, "merges": words.merges},
    }  # fmt: skip
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "add_bos_token": False,
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
