"""Broken checkpoints: each is converted to a whole file, or refused."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from quant.convert.to_gguf import convert
from quant.gguf_io.header import open_gguf_header
from tests.families import make_variant, variants
from tests.fuzz.checks import check_left, files_in, time_limit, tried
from tests.fuzz.forked import start_forks
from tests.fuzz.mutations.checkpoints import mutated
from tests.fuzz.mutations.odd import Files
from tests.support.checkpoints import make_checkpoint
from tests.support.stored_weights import store

SMALL = {"hidden": 32, "layers": 1, "ffn": 64, "vocab": 300}
_CASE_S = 10.0
_N_PLAIN = 3
_STORED = ("fp8-block", "gptq-4-order", "awq", "pack-4-zeros", "int-row", "nvfp4", "fp4-nested", "llm-int8")


class Cases:
    """Three plain checkpoints, one of each family, and some whose weights are stored quantized."""

    def __init__(self, folder: Path) -> None:
        made = [
            make_checkpoint(folder / "bpe", **SMALL),
            make_checkpoint(folder / "sharded", architecture="Qwen2ForCausalLM", style="qwen2", shards=2, **SMALL),
            make_checkpoint(folder / "spm", tokenizer="spm", **SMALL),
        ]
        of_families = {variant.config["architectures"][0]: name for name, variant in variants().items()}
        made += [make_variant(name, folder) for name in of_families.values()]
        self._bases = [files_of(checkpoint) for checkpoint in made]
        self._stored = [files_of(store(made[0], folder / form, form)) for form in _STORED]
        start_forks()

    def run_case(self, random: Random, scratch: Path) -> Sequence[str]:
        """Convert a broken checkpoint; half of the cases are plain ones, whose parts are what all families share."""
        kind = random.random()
        bases = self._bases[:_N_PLAIN] if kind < 0.5 else self._stored if kind < 0.6 else self._bases
        return convert_case(mutated(random.choice(bases), random), scratch)


def files_of(checkpoint: Path) -> Files:
    """Return a checkpoint's files."""
    return {path.name: path.read_bytes() for path in sorted(checkpoint.iterdir())}


def write(files: Files, folder: Path) -> None:
    """Write files; a name without bytes is a folder."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if data is None:
            path.mkdir()
        else:
            path.write_bytes(data)


def convert_case(files: Files, scratch: Path) -> Sequence[str]:
    """Convert one checkpoint to area/out/m.gguf of a folder; return its refusal, if there is one.

    Raises:
        BaseException: whatever else happens.
    """
    folder, target = scratch / "area" / "model", scratch / "area" / "out" / "m.gguf"
    write(files, folder)
    target.parent.mkdir()
    before = files_in(scratch)
    refusals: list[str] = []
    with time_limit(_CASE_S):
        tried(lambda: convert(folder, target), refusals)
    if not refusals:
        open_gguf_header(target)
        before.add(target)
    check_left(before | files_in(Path(tempfile.gettempdir())), scratch)
    return refusals
