"""Broken LoRA adapters: each is merged whole, or refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

from quant.convert.layout import open_layout
from quant.convert.row_chunks import read_chunk, row_chunks
from tests.fuzz.checkpoints import SMALL, files_of, write
from tests.fuzz.checks import check_left, files_in, time_limit, tried
from tests.fuzz.mutations.checkpoints import mutate
from tests.fuzz.mutations.odd import Files, odd, written
from tests.support.adapters import EMBEDDING, drawn, factors, write_adapter
from tests.support.checkpoints import make_checkpoint

_CASE_S = 10.0
_CHUNK_ELEMENTS = 4096
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_KEYS = """
peft_type r lora_alpha alpha_pattern rank_pattern use_rslora use_dora lora_bias init_lora_weights fan_in_fan_out
target_modules modules_to_save layer_replication target_parameters trainable_token_indices use_x
""".split()  # noqa: SIM905  a list of names reads better as text
_PATTERNS = ("q_proj", "^q_proj$", ".*", "(a+)+$", "", ".", "\\", "model.layers.0", "[", "a" * 5_000)


class Cases:
    """An adapter with every kind of change, of a plain model."""

    def __init__(self, folder: Path) -> None:
        self._base = files_of(make_checkpoint(folder / "base", **SMALL))
        tensors = factors("model.layers.0.self_attn.q_proj", 32, 32)
        tensors |= factors("model.layers.0.mlp.down_proj", 32, 64, rank=2)
        tensors |= factors("model.embed_tokens", 32, 300, ends=EMBEDDING) | {"model.norm.weight": drawn(32)}
        self._adapter = files_of(write_adapter(folder / "lora", tensors, alpha_pattern={"down_proj": 3}))

    def run_case(self, random: Random, scratch: Path) -> Sequence[str]:
        """Merge a broken adapter and read all of the model."""
        base, adapter = scratch / "area" / "base", scratch / "area" / "lora"
        write(self._base, base)
        write(_mutated(self._adapter, random), adapter)
        before, refusals = files_in(scratch), list[str]()
        with time_limit(_CASE_S):
            tried(lambda: _read(base, adapter), refusals)
        check_left(before, scratch)
        return refusals


def _read(base: Path, adapter: Path) -> None:
    for job in open_layout(base, adapter=adapter).jobs:
        for rows in row_chunks(job, _CHUNK_ELEMENTS):
            read_chunk(job, *rows)


def _mutated(adapter: Files, random: Random) -> Files:
    files = dict(adapter)
    for _ in range(random.choice((1, 1, 2))):
        data = files.get(_CONFIG)
        if data is not None and random.random() < 0.3:
            files[_CONFIG] = _config(data, random)
        else:
            mutate(files, random.choice((_CONFIG, _WEIGHTS)), random)
    return files


def _config(data: bytes, random: Random) -> bytes:
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if isinstance(config, dict):
        value = {random.choice(_PATTERNS): odd(random)} if random.random() < 0.2 else odd(random)
        config[random.choice(_KEYS)] = value
    return written(config)
