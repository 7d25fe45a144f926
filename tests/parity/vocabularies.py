"""The vocabularies that llama.cpp tests itself with: texts, and their ids as the models' own tokenizers gave them.

Each is made into a checkpoint's tokenizer files again and converted, with the pre-tokenizer found by its structure.
Then llama.cpp has to give the ids in the test's file. The files are read from the unpacked sources only.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from quant.convert import convert
from tests.parity.oracle import Oracle, run
from tests.parity.rebuild import Stored, is_padding, read_vocabulary, rebuild_checkpoint, type_today

_SEPARATOR = "\n__ggml_vocab_test__\n"
_NOT_COVERED = {
    "bert": "WordPiece, which no model here has",
    "t5": "Unigram, which no model here has",
    "gemma4": "Gemma 4's BPE of raw letters, which no model here has",
}


def compare_vocabularies(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Convert every vocabulary that has texts, and count the lines of ids that are equal."""
    print("vocabularies that llama.cpp tests itself with", flush=True)
    folder = oracle.work / "vocabularies"
    findings, jobs, left_out = [], [], []
    for original in sorted((oracle.llama_cpp / "models").glob("ggml-vocab-*.gguf")):
        name = original.stem.removeprefix("ggml-vocab-")
        stored = read_vocabulary(original)
        if reason := _reason(original, stored):
            left_out.append((name, reason))
            continue
        checkpoint = rebuild_checkpoint(stored, folder / name)
        made = folder / f"{name}.gguf"
        convert(checkpoint, made, outtype="f16")
        texts, expected = _read_test(original)
        jobs.append({"path": str(made), "texts": texts})
        ours = read_vocabulary(made)
        finding = {"vocabulary": name, "pre_in_file": stored.pre, "pre_found": ours.pre, "lines": len(expected)}
        finding["differences"] = _differences(stored, ours)
        finding["library"] = _n_equal(_library_ids(checkpoint, texts), expected)
        findings.append((finding, expected))
    listed, answered = folder / "jobs.json", folder / "ids.json"
    listed.write_text(json.dumps(jobs))
    driver = Path(__file__).parent / "drivers" / "token_ids.py"
    run([sys.executable, str(driver), str(listed), str(answered)], quiet=True)
    print("  vocabulary      pre in the file  pre found        lines equal  by the library  tokens, types, merges")
    for (finding, expected), ids in zip(findings, json.loads(answered.read_text()), strict=True):
        finding["equal"] = _n_equal(ids, expected)
        library = "-" if finding["library"] is None else f"{finding['library']} of {finding['lines']}"
        verdict = "; ".join(finding["differences"]) or "equal"
        print(
            f"  {finding['vocabulary']:15} {finding['pre_in_file']:16} {finding['pre_found']:16} "
            f"{finding['equal']:2} of {finding['lines']:5}  {library:15} {verdict}",
            flush=True,
        )
    for name, reason in left_out:
        print(f"  {name:15} not covered: {reason}")
    rows = [finding for finding, _ in findings]
    passed = all(
        row["equal"] == row["lines"] and row["library"] in (None, row["lines"]) and not row["differences"]
        for row in rows
    )
    return bool(rows) and passed, rows


def _reason(original: Path, stored: Stored) -> str | None:
    if stored.model in _NOT_COVERED:
        return _NOT_COVERED[stored.model]
    has_texts = all(original.with_name(f"{original.name}.{end}").is_file() for end in ("inp", "out"))
    return None if has_texts else "llama.cpp has no texts for it"


def _read_test(original: Path) -> tuple[list[str], list[list[int]]]:
    """Read texts and their ids, as llama.cpp's own test does: what follows the last separator counts too."""
    raw = original.with_name(f"{original.name}.inp").read_bytes().decode()
    texts = raw.split(_SEPARATOR)
    lines = original.with_name(f"{original.name}.out").read_text().splitlines()
    expected = [[int(number) for number in line.split()] for line in lines]
    texts = texts if texts[-1] else texts[:-1]
    assert len(texts) == len(expected)
    return texts, expected


def _library_ids(checkpoint: Path, texts: list[str]) -> list[list[int]] | None:
    """Give the ids of the tokenizers library: the test's own file must be what the model's is."""
    path = checkpoint / "tokenizer.json"
    if not path.is_file():
        return None
    tokenizer = Tokenizer.from_file(str(path))
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def _n_equal(ids: list[list[int]] | None, expected: list[list[int]]) -> int | None:
    return None if ids is None else sum(one == other for one, other in zip(ids, expected, strict=True))


def _differences(stored: Stored, ours: Stored) -> list[str]:
    """Name what of the vocabulary is not as it was; types are to be those of today's converter."""
    n_tokens = len(stored.texts)
    found = [name for name in ("model", "texts", "merges") if getattr(stored, name) != getattr(ours, name)]
    types = [type_today(stored, token_id) for token_id in range(n_tokens)]
    if types != ours.types:
        wrong = [place for place in range(n_tokens) if types[place] != ours.types[place]]
        found.append(f"{len(wrong)} types, first {wrong[0]}: {types[wrong[0]]} and {ours.types[wrong[0]]}")
    if stored.scores is not None and ours.scores is not None:
        kept = [place for place in range(n_tokens) if not is_padding(stored, place) and ours.types[place] in (1, 6)]
        found += ["scores"] if any(stored.scores[place] != ours.scores[place] for place in kept) else []
    return found
