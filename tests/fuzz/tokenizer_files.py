"""Broken tokenizer files: the checkpoint is converted, and then the file runs, or it is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.records.config import base_config
from tests.families.plamo2 import config as plamo2
from tests.families.rwkv7 import config as rwkv7
from tests.fuzz.checkpoints import SMALL, convert_case, files_of
from tests.fuzz.checks import WrongError
from tests.fuzz.forked import start_forks
from tests.fuzz.mutations.odd import Files
from tests.fuzz.mutations.tokenizers import mutated
from tests.support.checkpoints import make_checkpoint, write_checkpoint
from tests.support.pre_tokenizers import BY_NAME

_RUN_SHARE = 0.1  # of the converted files
_RUN_S = 20.0
_CONFIG = base_config(mode="request", workload="chat", n_prompt=8, n_gen=1, n_ctx=64, n_batch=64)
_SPACE = "\u2581"


class Cases:
    """Checkpoints with tokenizers of several kinds."""

    def __init__(self, folder: Path) -> None:
        made = [
            make_checkpoint(folder / "gpt-2", **SMALL),
            make_checkpoint(folder / "smollm", style="smollm", **SMALL),
            make_checkpoint(folder / "qwen2", architecture="Qwen2ForCausalLM", style="qwen2", **SMALL),
            make_checkpoint(folder / "llama-3", style="llama-bpe", **SMALL),
            make_checkpoint(folder / "gpt-2-class", tokenizer="write_gpt2_class_tokenizer", **SMALL),
            make_checkpoint(folder / "pieces", tokenizer="spm", **SMALL),
            make_checkpoint(folder / "mistral", architecture="MistralForCausalLM", tokenizer="spm", **SMALL),
            make_checkpoint(folder / "phi-3", tokenizer="write_phi3_tokenizer", **SMALL),
            _byte_fallback(make_checkpoint(folder / "fallback", tokenizer="spm", **SMALL), metaspace=False),
            _byte_fallback(make_checkpoint(folder / "metaspace", tokenizer="spm", **SMALL), metaspace=True),
            _unigram(make_checkpoint(folder / "unigram", tokenizer="spm", **SMALL)),
            write_checkpoint(folder / "rwkv", rwkv7(), tokenizer="write_rwkv_tokenizer"),
            write_checkpoint(folder / "plamo", plamo2(), tokenizer="write_plamo_tokenizer"),
        ]
        self._bases = [files_of(checkpoint) for checkpoint in made]
        self._bases += [_with_step(self._bases[0], name) for name in ("falcon", "deepseek-llm", "tekken", "gpt-4o")]
        start_forks()
        import profiler.engine.llama  # noqa: F401  loaded once, before any fork

    def run_case(self, random: Random, scratch: Path) -> Sequence[str]:
        """Convert a checkpoint with a broken tokenizer, and run some of those that were converted."""
        refusals = convert_case(mutated(random.choice(self._bases), random), scratch)
        if not refusals and random.random() < _RUN_SHARE:
            job = Job(path=str(scratch / "area" / "out" / "m.gguf"), config=_CONFIG, reps=1, seed=0)
            answer = run_worker(job, timeout_s=_RUN_S)
            if answer.failure is not None:
                raise WrongError(f"converted, but it does not run: {answer.failure.message}")
        return refusals


def _byte_fallback(checkpoint: Path, *, metaspace: bool) -> Path:
    """Put a byte-fallback BPE in the place of SentencePiece's file."""
    words = [_SPACE, *"helo", "he", "ll", "hell", "hello", f"{_SPACE}hello"]
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), (_SPACE, "hello")]
    vocab = {text: token_id for token_id, text in enumerate(texts)}
    model = models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    tokenizer = Tokenizer(model)
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return _saved(checkpoint, tokenizer)


def _unigram(checkpoint: Path) -> Path:
    pieces = [
        ("<unk>", 0.0),
        ("<s>", 0.0),
        ("</s>", 0.0),
        *((letter, -2.0) for letter in f"{_SPACE}helo"),
        ("hello", -1.0),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return _saved(checkpoint, tokenizer)


def _saved(checkpoint: Path, tokenizer: Tokenizer) -> Path:
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    (checkpoint / "tokenizer.model").unlink()
    tokenizer.save(str(checkpoint / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(names))
    return checkpoint


def _with_step(files: Files, name: str) -> Files:
    """Return a byte-level tokenizer with another pre-tokenizer."""
    tree = json.loads(files["tokenizer.json"] or b"{}") | {"pre_tokenizer": BY_NAME[name]}
    return {**files, "tokenizer.json": json.dumps(tree).encode()}
