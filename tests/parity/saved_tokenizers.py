"""Checkpoints with tokenizers that transformers 5 saved: each family's class, and every sort of post-processor.

After conversion llama.cpp has to give the ids of the tokenizers library on the probe, with BOS and EOS and without,
except in the lines that the conversion itself reported as what llama.cpp cannot express. llama.cpp's own converter
converts the same checkpoints; where its keys differ, the ids of its file are counted too.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from quant.convert.to_gguf import convert
from quant.convert.verify.probe import probe_lines
from tests.families import variants
from tests.parity.oracle import Oracle, run
from tests.parity.rebuild import read_tokenizer_keys
from tests.support.checkpoints import write_checkpoint

_DRIVERS = Path(__file__).parent / "drivers"
_ROWS = 2016  # of the embedding, some more than there are tokens
_BOS, _EOS = {"add_bos_token": True}, {"add_eos_token": True}
_LLAMA_3, _DIGITS = {"style": "llama-3"}, {"style": "digits"}
# A variant of each family, the class that transformers 5 has for it, and options of that class.
_OF_FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-tied-bf16": ("LlamaTokenizer", _BOS),
    "mistral": ("LlamaTokenizer", _BOS | _EOS),
    "minicpm-tied-bf16": ("LlamaTokenizer", _BOS | {"add_prefix_space": False}),
    "minicpm3-tied-bf16": ("LlamaTokenizer", _BOS | {"legacy": True}),
    "openelm-f32": ("LlamaTokenizer", _BOS),
    "phi3-bf16": ("LlamaTokenizer", {}),
    "gemma-spm-bf16": ("GemmaTokenizer", _BOS),
    "gemma2-bf16": ("GemmaTokenizer", _BOS),
    "gemma3-spm-bf16": ("GemmaTokenizer", _BOS),
    "qwen2-tied": ("Qwen2Tokenizer", {}),
    "qwen3-tied-bf16": ("Qwen2Tokenizer", {}),
    "gpt2-bf16-sharded": ("GPT2Tokenizer", {}),
    "phi4-mini": ("GPT2Tokenizer", _EOS),
    "phi2-bf16": ("CodeGenTokenizer", {}),
    "gptneox-bf16": ("GPTNeoXTokenizer", {}),
    "olmo-clipped-bf16": ("GPTNeoXTokenizer", _EOS),
    "olmo2-bf16": ("TokenizersBackend", _LLAMA_3),
    "stablelm-3b-bf16": ("TokenizersBackend", _DIGITS),
    "smollm3-tied-bf16": ("TokenizersBackend", _LLAMA_3 | _BOS),
    "granite-tied-bf16": ("TokenizersBackend", _DIGITS | _BOS),
    "bloom-bf16": ("TokenizersBackend", _DIGITS),
}
# Those that are also saved with each of these.
_OF_CLASSES = ("llama-tied-bf16", "gemma3-spm-bf16", "qwen2-tied", "gpt2-bf16-sharded", "smollm3-tied-bf16")
_PROCESSORS = ("none", "ByteLevel", "BOS", "EOS", "BOS and EOS", "another token", "sequence", "Roberta", "Bert")
_SPECIAL_IDS = {"GemmaTokenizer": (2, 1)}  # BOS and EOS; others have 1 and 2


class _Case(NamedTuple):
    variant: str
    processor: str

    @property
    def name(self) -> str:
        return f"{self.variant}-{self.processor.replace(' ', '-')}"

    @property
    def tokenizer(self) -> tuple[str, dict[str, Any]]:
        return _OF_FAMILIES[self.variant]


class _Made(NamedTuple):
    """A converted checkpoint, and the truth."""

    path: Path
    pre: str
    lines: list[tuple[str, bool]]  # a text, with BOS and EOS
    expected: list[list[int]]
    known: dict[str, int]  # lines that differ, by what llama.cpp cannot express; "mismatch" for all others


def compare_saved_tokenizers(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Save, convert, and count the lines of the probe whose ids are equal."""
    print("tokenizers saved by transformers 5, against the tokenizers library", flush=True)
    folder = oracle.work / "saved"
    cases = [_Case(variant, "own") for variant in _OF_FAMILIES]
    cases += [_Case(variant, processor) for variant in _OF_CLASSES for processor in _PROCESSORS]
    _save(oracle, folder, cases)
    made = {case: _converted(case, folder) for case in cases}
    theirs = {case: folder / f"{case.name}.theirs.gguf" for case in cases}
    failed = oracle.convert(
        [
            {"pre": made[case].pre, "checkpoint": str(folder / case.name), "target": str(path), "outtype": "f16"}
            for case, path in theirs.items()
        ],
        oracle.python_5,
    )
    ours = _n_equal(folder, {case: each.path for case, each in made.items()}, made)
    also = _n_equal(folder, {case: path for case, path in theirs.items() if str(path) not in failed}, made)
    rows = []
    print(
        "  variant              class              post-processor  ours          known             theirs  other keys"
    )
    for case in cases:
        row = {
            "variant": case.variant,
            "class": case.tokenizer[0],
            "processor": case.processor,
            "lines": len(made[case].lines),
            "equal": ours[case],
            "known": made[case].known,
            "theirs": also.get(case),
            "keys": [] if case not in also else _differing(made[case].path, theirs[case]),
        }
        rows.append(row)
        known = ", ".join(f"{code} {n}" for code, n in row["known"].items())
        print(
            f"  {case.variant:20} {row['class']:18} {case.processor:15} {row['equal']:4} of {row['lines']:4}  "
            f"{known:17} {'fails' if row['theirs'] is None else row['theirs']:>6}  {', '.join(row['keys'])}".rstrip()
        )
    return all(
        "mismatch" not in row["known"] and row["equal"] + sum(row["known"].values()) == row["lines"] for row in rows
    ), rows


def _save(oracle: Oracle, folder: Path, cases: list[_Case]) -> None:
    """Write the checkpoints: weights as the families' variants have them, tokenizers by transformers 5."""
    jobs = []
    for case in cases:
        variant, (name, options) = variants()[case.variant], case.tokenizer
        bos, eos = _SPECIAL_IDS.get(name, (1, 2))
        config = variant.config | {"vocab_size": _ROWS, "bos_token_id": bos, "eos_token_id": eos, "pad_token_id": 0}
        write_checkpoint(folder / case.name, config, tokenizer="none", prefix=variant.prefix, bare=variant.bare)
        jobs.append({"folder": str(folder / case.name), "class": name, "options": options, "processor": case.processor})
    listed, corpus = folder / "tokenizers.json", folder / "corpus.json"
    listed.write_text(json.dumps(jobs))
    corpus.write_text(json.dumps(probe_lines(())))
    run(
        [str(oracle.python_5), str(_DRIVERS / "save_tokenizers.py"), str(listed), str(corpus)],
        quiet=True,
        PYTHONPATH="",
    )


def _converted(case: _Case, folder: Path) -> _Made:
    checkpoint = folder / case.name
    report = convert(checkpoint, folder / f"{case.name}.gguf", outtype="f16", allow_token_mismatch=True)
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    texts = probe_lines([each.content for each in tokenizer.get_added_tokens_decoder().values()])
    lines = [(text, mode) for mode in (False, True) for text in texts]
    return _Made(
        path=report.path,
        pre=read_tokenizer_keys(report.path)["pre"],
        lines=lines,
        expected=[tokenizer.encode(text, add_special_tokens=mode).ids for text, mode in lines],
        known=report.tokens.differing,
    )


def _n_equal(folder: Path, files: dict[_Case, Path], made: dict[_Case, _Made]) -> dict[_Case, int]:
    """Count the lines of each file for which llama.cpp returns the library's ids."""
    jobs = [
        {
            "path": str(path),
            "texts": [text for text, mode in made[case].lines if mode is with_ends],
            "add_special": with_ends,
            "parse_special": True,
        }
        for case, path in files.items()
        for with_ends in (False, True)
    ]
    listed, answered = folder / "jobs.json", folder / "ids.json"
    listed.write_text(json.dumps(jobs))
    run([sys.executable, str(_DRIVERS / "token_ids.py"), str(listed), str(answered)], quiet=True)
    found = iter(json.loads(answered.read_text()))
    return {
        case: sum(ids == truth for ids, truth in zip(next(found) + next(found), made[case].expected, strict=True))
        for case in files
    }


def _differing(ours: Path, theirs: Path) -> list[str]:
    """Name the keys of the vocabulary that differ."""
    one, other = read_tokenizer_keys(ours), read_tokenizer_keys(theirs)
    return [key for key in dict.fromkeys([*other, *one]) if one.get(key) != other.get(key)]
