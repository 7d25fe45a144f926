"""Verify a file's tokens before any tensor is written: llama.cpp's ids against those of the checkpoint's own tokenizer.

Both read the same probe in a worker process, which opens the finished header too: vocabulary and tensor table.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from quant.base.child import run_child
from quant.base.errors import UserError
from quant.base.text import message_line
from quant.convert.layout import Layout
from quant.convert.provenance import TokenCheck
from quant.convert.sparse_gguf import file_type, write_sparse_at
from quant.convert.verify.messages import Answer, Difference, Job
from quant.gguf_io.writer import Keys, with_keys

WORKER = "quant.convert.verify.worker"  # module
_KEY = "slmprof.tokens"
_TIMEOUT_S = 300.0  # far beyond the largest vocabulary on a slow board
_SHOWN_IDS = 40
_LOADING = "error loading model: "  # before llama.cpp's reason


class Verified(NamedTuple):
    """The keys of a file whose tokens were verified, and what was found."""

    keys: Keys
    check: TokenCheck


def verified_keys(layout: Layout, stem: str, scratch: Path, *, allow_mismatch: bool = False) -> Verified:
    """Return the keys of a checkpoint's file, with what the probe of its tokens found.

    Args:
        stem: of the final file's name.
        scratch: a temporary folder.
        allow_mismatch: record differences that GGUF could express, instead of refusing them.

    Raises:
        UserError: the vocabulary is broken, llama.cpp cannot open the header, or its ids differ.
    """
    keys, kind = layout.keys, layout.lossless_type
    path = scratch / f"{stem}.gguf"
    write_sparse_at(layout, path, keys, layout.types_at(kind), file_type(layout, kind))
    folder = layout.checkpoint.folder
    answer = _ask(Job(header=str(path), checkpoint=str(folder), n_tokens=layout.vocabulary.n_tokens))
    path.unlink()
    return _judged(keys, answer, folder, allow_mismatch=allow_mismatch)


def _ask(job: Job) -> Answer:
    """Run the worker.

    Raises:
        UserError: llama.cpp cannot open the file; on one that it cannot represent it ends the worker.
    """
    line, ending = run_child(WORKER, job, timeout_s=_TIMEOUT_S)
    try:
        answer = msgspec.json.decode(line, type=Answer)
    except msgspec.DecodeError:
        reason = "it took too long" if ending.timed_out else ending.error_line or ending.signal or "it gave no reason"
    else:
        if answer.opened:
            return answer
        reason = ending.stderr.rpartition(_LOADING)[2].partition("\n")[0] or ending.error_line
    raise UserError(
        f"llama.cpp cannot open the file of {job.checkpoint}: {message_line(reason)}; "
        "check its config.json and tokenizer files"
    )


def _judged(keys: Keys, answer: Answer, folder: Path, *, allow_mismatch: bool) -> Verified:
    if answer.refusal is not None:
        raise UserError(answer.refusal)
    wrong = answer.mismatch
    if wrong is not None and not allow_mismatch:
        raise UserError(
            f"llama.cpp's tokens differ from those of {folder} in {wrong.n_lines} of {answer.n_lines} probes; "
            f"first {_described(wrong)}; slmprof convert --allow-token-mismatch converts it anyway"
        )
    found = {each.code: each for each in (*answer.known, *([wrong] if wrong else []))}
    check = TokenCheck(
        reference=answer.reference,
        n_lines=answer.n_lines,
        differing={code: each.n_lines for code, each in found.items()},
        examples={code: _described(each) for code, each in found.items()},
    )
    return Verified(with_keys(keys, _keys_of(check)), check)


def _keys_of(check: TokenCheck) -> Mapping[str, str | int]:
    return {f"{_KEY}.{code}": f"{n} of {check.n_lines}: {check.examples[code]}" for code, n in check.differing.items()}


def _described(difference: Difference) -> str:
    mode = " with BOS and EOS" if difference.add_special else ""
    theirs, ours = _cut(difference.expected, difference.found), _cut(difference.found, difference.expected)
    return f"{difference.text[:80]!r}{mode}: {difference.reference} {theirs}, llama.cpp {ours}"


def _cut(ids: tuple[int, ...], other: tuple[int, ...]) -> str:
    """Return a list of ids; of a long one the part around the first difference."""
    if max(len(ids), len(other)) <= _SHOWN_IDS:
        return str(list(ids))
    first = next((i for i, (a, b) in enumerate(zip(ids, other, strict=False)) if a != b), min(len(ids), len(other)))
    start = max(0, first - 4)
    return f"from token {start} {list(ids[start : start + _SHOWN_IDS // 2])}"
