"""The vocabularies that llama.cpp tests itself with: texts, and their ids as the models' own tokenizers gave them.

Each is made into a checkpoint's tokenizer files again and converted, with the pre-tokenizer found by its structure.
Then llama.cpp has to give the ids in the test's file. As it has no vocabulary for most pre-tokenizers, every published
one is also put before a vocabulary of whole texts, and llama.cpp's ids compared with those of the tokenizers library.
The files are read from the unpacked sources only.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from quant.convert.to_gguf import ConvertReport, convert
from quant.convert.verify.probe import probe_lines
from tests.parity.oracle import Oracle, run
from tests.parity.rebuild import Stored, is_padding, read_vocabulary, rebuild_checkpoint, train_vocabulary, type_today
from tests.parity.saved_tokenizers import compare_saved_tokenizers
from tests.support.pre_tokenizers import BY_NAME

_SEPARATOR = "\n__ggml_vocab_test__\n"
_NOT_COVERED = {
    "bert": "WordPiece, which no model here has",
    "t5": "Unigram, which no model here has",
    "gemma4": "Gemma 4's BPE of raw letters, which no model here has",
}
# What the tests' texts lack: combining marks, inner capitals, digits and spaces of several scripts.
_MORE_TEXTS = (
    "e\u0301te\u0301 \u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "HTTPServer getUserName \u01c5ep I'LL we'Re",
    "1234567 \u0661\u0662\u0663 \u216b \u00bd x2y",
    "path/\n//\n b\r\n\t!?/\n",
    "\u6f22\u5b57\u304b\u306a\u30ab\u30ca\ud55c\uae00text\u3002",
    "a\u00a0b\u2003c  \u3000 d",
)


def compare_vocabularies(oracle: Oracle) -> tuple[bool, dict[str, list[dict[str, Any]]]]:
    """Convert llama.cpp's vocabularies, published pre-tokenizers and saved tokenizers, and count equal lines of ids."""
    kept, tests = _compare_tests(oracle)
    exact, structures = _compare_structures(oracle)
    same, saved = compare_saved_tokenizers(oracle)
    return kept and exact and same, {"tests": tests, "structures": structures, "saved": saved}


def _compare_tests(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    print("vocabularies that llama.cpp tests itself with", flush=True)
    folder = oracle.work / "vocabularies"
    rows, jobs, left_out = [], [], []
    for original in sorted((oracle.llama_cpp / "models").glob("ggml-vocab-*.gguf")):
        name = original.stem.removeprefix("ggml-vocab-")
        stored = read_vocabulary(original)
        if reason := _reason(original, stored):
            left_out.append((name, reason))
            continue
        checkpoint, report = _converted(stored, folder / name)
        texts, expected = _read_test(original)
        jobs.append((report.path, texts, expected))
        ours = read_vocabulary(report.path)
        row = {"vocabulary": name, "pre_in_file": stored.pre, "pre_found": ours.pre, "lines": len(expected)}
        row["differences"], row["retyped"] = _differences(stored, ours)
        has_json = (checkpoint / "tokenizer.json").is_file()
        row["library"] = _n_equal(_library_ids(checkpoint, texts), expected) if has_json else None
        rows.append(row)
    print("  vocabulary      pre in the file  pre found        lines equal  by the library  tokens, types, merges")
    for row, equal in zip(rows, _n_equal_by_llama_cpp(folder, jobs), strict=True):
        row["equal"] = equal
        library = "-" if row["library"] is None else f"{row['library']} of {row['lines']}"
        verdict = "; ".join(row["differences"]) or "equal"
        retyped = f", {row['retyped']} types as today's converter assigns them" if row["retyped"] else ""
        print(
            f"  {row['vocabulary']:15} {row['pre_in_file']:16} {row['pre_found']:16} "
            f"{equal:2} of {row['lines']:5}  {library:15} {verdict}{retyped}"
        )
    for name, reason in left_out:
        print(f"  {name:15} not covered: {reason}")
    passed = all(
        row["equal"] == row["lines"] and row["library"] in (None, row["lines"]) and not row["differences"]
        for row in rows
    )
    return bool(rows) and passed, rows


def _compare_structures(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Every text has the library's ids, or a known difference explains all that have not."""
    print("published pre-tokenizers on a vocabulary of whole texts, against the tokenizers library", flush=True)
    folder = oracle.work / "structures"
    texts = [*_read_test(oracle.llama_cpp / "models" / "ggml-vocab-qwen35.gguf")[0], *_MORE_TEXTS]
    stored = train_vocabulary([*texts, *probe_lines(())])
    rows, jobs = [], []
    for name in BY_NAME:
        checkpoint, report = _converted(stored._replace(pre=name), folder / name)
        jobs.append((report.path, texts, _library_ids(checkpoint, texts)))
        found = read_vocabulary(report.path).pre
        rows.append({"pre": name, "pre_found": found, "lines": len(texts), "differing": report.tokens.differing})
    print(f"  pre              pre found        lines equal  known differences in {report.tokens.n_lines} of the probe")
    for row, equal in zip(rows, _n_equal_by_llama_cpp(folder, jobs), strict=True):
        row["equal"] = equal
        known = ", ".join(f"{code} {n}" for code, n in row["differing"].items())
        print(f"  {row['pre']:16} {row['pre_found']:16} {equal:2} of {row['lines']:5}  {known}".rstrip())
    passed = all(
        set(row["differing"]) <= {"split"} and (row["equal"] == row["lines"] or row["differing"]) for row in rows
    )
    return passed, rows


def _converted(stored: Stored, checkpoint: Path) -> tuple[Path, ConvertReport]:
    """Make a checkpoint and convert it without a name for its pre-tokenizer."""
    rebuild_checkpoint(stored, checkpoint)
    return checkpoint, convert(checkpoint, checkpoint.with_suffix(".gguf"), outtype="f16", allow_token_mismatch=True)


def _n_equal_by_llama_cpp(folder: Path, jobs: list[tuple[Path, list[str], list[list[int]]]]) -> list[int]:
    """Count the texts of each file for which llama.cpp, in a process of its own, returns the expected ids."""
    listed, answered = folder / "jobs.json", folder / "ids.json"
    listed.write_text(json.dumps([{"path": str(made), "texts": texts} for made, texts, _ in jobs]))
    driver = Path(__file__).parent / "drivers" / "token_ids.py"
    run([sys.executable, str(driver), str(listed), str(answered)], quiet=True)
    found = json.loads(answered.read_text())
    return [_n_equal(ids, expected) for ids, (_, _, expected) in zip(found, jobs, strict=True)]


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


def _library_ids(checkpoint: Path, texts: list[str]) -> list[list[int]]:
    """Return the ids of the tokenizers library: the file made here must do what the model's own does."""
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def _n_equal(ids: list[list[int]], expected: list[list[int]]) -> int:
    return sum(one == other for one, other in zip(ids, expected, strict=True))


def _differences(stored: Stored, ours: Stored) -> tuple[list[str], int]:
    """Name what of the vocabulary is not as it was, and count the types that are today's instead."""
    n_tokens = len(stored.texts)
    found = [name for name in ("model", "texts", "merges") if getattr(stored, name) != getattr(ours, name)]
    types = [type_today(stored, token_id) for token_id in range(n_tokens)]
    if types != ours.types:
        wrong = [place for place in range(n_tokens) if types[place] != ours.types[place]]
        found.append(f"{len(wrong)} types, first {wrong[0]}: {types[wrong[0]]} and {ours.types[wrong[0]]}")
    if stored.scores is not None and ours.scores is not None:
        kept = [place for place in range(n_tokens) if not is_padding(stored, place) and ours.types[place] in (1, 6)]
        found += ["scores"] if any(stored.scores[place] != ours.scores[place] for place in kept) else []
    return found, sum(one != other for one, other in zip(stored.types, types, strict=True))
