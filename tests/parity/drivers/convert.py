"""Run llama.cpp's converter on many checkpoints, with two answers replaced: pre-tokenizers and tables of ranks.

A home-trained tokenizer has no hash in its table, so both sides are given the same name. Tokenizers of ranks are code
that comes with the checkpoint; what the converter asks of it is read here as tiktoken does.
Usage: convert.py LLAMA_CPP JOBS.json FAILURES.json; jobs are a list of {"pre", "checkpoint", "target", "outtype"},
failures the errors by target.
"""

import base64
import json
import logging
import runpy
import sys
from pathlib import Path

llama_cpp = Path(sys.argv[1])
jobs = json.loads(Path(sys.argv[2]).read_text())
failures = Path(sys.argv[3])
sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]

import transformers  # noqa: E402
from conversion.base import ModelBase, TextModel  # noqa: E402
from conversion.rwkv import Rwkv6Model, Rwkv7Model  # noqa: E402

# The special tokens that follow the ranks, by the name of their file.
SPECIAL = {
    "qwen.tiktoken": ["endoftext", "im_start", "im_end", *(f"extra_{number}" for number in range(205))],
    "hy.tiktoken": ["endoftext", "startoftext", "bos", "eos", "pad", *(f"extra_{number}" for number in range(205))],
}


class RankTokenizer:
    """The tables of a tokenizer of ranks that the converter reads."""

    def __init__(self, ranks):
        lines = [line.split() for line in ranks.read_bytes().splitlines()]
        self.mergeable_ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
        names = SPECIAL[ranks.name]
        self.special_tokens = {f"<|{name}|>": len(lines) + index for index, name in enumerate(names)}
        self.vocab_size = len(lines) + len(names)

    def get_vocab(self):
        """Return every token's id."""
        return {**self.mergeable_ranks, **self.special_tokens}


def from_pretrained(folder, *arguments, usual=transformers.AutoTokenizer.from_pretrained, **options):
    """Return the tables of ranks where the folder has them, else what transformers returns."""
    ranks = next(iter(Path(folder).glob("*.tiktoken")), None)
    return usual(folder, *arguments, **options) if ranks is None else RankTokenizer(ranks)


transformers.AutoTokenizer.from_pretrained = from_pretrained

ModelBase.no_mtp = True  # as with --no-mtp, which it takes for some classes only
failed: dict[str, str] = {}
for job in jobs:
    TextModel.get_vocab_base_pre = lambda self, tokenizer, name=job["pre"]: name
    for model in (Rwkv6Model, Rwkv7Model):
        model.lerp_weights = {}  # of the class, so that those of the model before are found again
    sys.argv = [
        *(str(llama_cpp / "convert_hf_to_gguf.py"), job["checkpoint"]),
        *("--outfile", job["target"], "--outtype", job["outtype"]),
    ]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except (Exception, SystemExit) as error:  # noqa: BLE001  one failure must not hide the others
        if isinstance(error, SystemExit) and not error.code:
            continue
        failed[job["target"]] = repr(error)[:200]
    finally:
        logging.getLogger().handlers.clear()
failures.write_text(json.dumps(failed))
