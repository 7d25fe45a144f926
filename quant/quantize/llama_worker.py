"""One process that lets llama.cpp quantize: a job as JSON in, its log and status as JSON lines out.

Run as `python -m quant.quantize.llama_worker`. A bad file may make llama.cpp abort; then this process is lost and
nothing else. The job comes on stdin, which stays open: when it closes, the parent is gone, so what was begun is
removed.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from quant.base.child import die_with_parent, end_child, prepare_child
from quant.base.errors import UserError
from quant.gguf_io.imatrix import ImatrixHeader, keys_of, open_imatrix, read_imatrix

# The rows in memory at once, with their float32 copy: what a board of 1 GB has, and enough to keep all threads busy.
_BUFFER_BYTES = 64 << 20
_STRING_BYTES = 127  # llama_model_kv_override.val_str without its zero
_TAG_INT, _TAG_STR = 0, 3  # enum llama_model_kv_override_type
_TYPE_COUNT = 43  # GGML_TYPE_COUNT: leave the choice to the level


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Quantize `source` to one level, or without `out` try several."""

    source: str
    ftypes: tuple[int, ...]
    out: str | None = None
    n_threads: int = 1
    imatrix: str | None = None
    imatrix_sha256: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the three: a piece of the log, the status of a level that ended, or what the user must mend."""

    text: str | None = None
    status: int | None = None
    refusal: str | None = None


def work(job: Job, answer: BinaryIO) -> None:
    """Do a job, telling all along."""

    def tell(event: Event) -> None:
        answer.write(msgspec.json.encode(event) + b"\n")
        answer.flush()

    try:
        imatrix = open_imatrix(Path(job.imatrix)) if job.imatrix else None
        values = read_imatrix(imatrix) if imatrix else {}
    except UserError as error:
        tell(Event(refusal=str(error)))
        return

    import llama_cpp

    def log(level: int, text: bytes, user_data: object) -> None:
        tell(Event(text=text.decode("utf-8", errors="replace")))

    callback = llama_cpp.llama_log_callback(log)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    entries = (llama_cpp.llama_model_imatrix_data * (len(values) + 1))()
    for entry, (name, data) in zip(entries, values.items(), strict=False):
        entry.name = name.encode()
        entry.data = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = data.size
    overrides = _overrides(llama_cpp, job, imatrix)
    for ftype in job.ftypes:
        params = llama_cpp.llama_model_quantize_params(
            nthread=job.n_threads,
            ftype=ftype,
            output_tensor_type=_TYPE_COUNT,
            token_embedding_type=_TYPE_COUNT,
            allow_requantize=False,
            quantize_output_tensor=True,
            only_copy=False,
            pure=False,
            keep_split=False,
            dry_run=job.out is None,
            imatrix=ctypes.cast(entries, ctypes.POINTER(llama_cpp.llama_model_imatrix_data)) if values else None,
            kv_overrides=ctypes.cast(overrides, ctypes.POINTER(llama_cpp.llama_model_kv_override)) if imatrix else None,
            tt_overrides=None,
            prune_layers=None,
            max_buf_size=_BUFFER_BYTES,
        )
        out = os.fsencode(job.out) if job.out else b""
        tell(Event(status=llama_cpp.llama_model_quantize(os.fsencode(job.source), out, ctypes.byref(params))))


def _overrides(llama_cpp: Any, job: Job, imatrix: ImatrixHeader | None) -> Any:
    """Write down the importance matrix as llama-quantize does."""
    pairs = list(keys_of(imatrix, job.imatrix_sha256 or "").items()) if imatrix else []
    overrides = (llama_cpp.llama_model_kv_override * (len(pairs) + 1))()
    for override, (key, value) in zip(overrides, pairs, strict=False):
        override.key = key.encode()
        if isinstance(value, int):
            override.tag, override.value.val_i64 = _TAG_INT, value
        else:
            override.tag, override.value.val_str = _TAG_STR, _cut(value)
    return overrides


def _cut(text: str) -> bytes:
    return text.encode()[:_STRING_BYTES].decode(errors="ignore").encode()


def main() -> None:
    """Read a job, do it."""
    answer = prepare_child()
    stdin = sys.stdin.buffer
    # Loaded before the job comes: the parent may start this process ahead.
    import llama_cpp  # noqa: F401

    job = msgspec.json.decode(stdin.readline(), type=Job)
    die_with_parent(stdin, [job.out] if job.out else [])
    work(job, answer)
    end_child()


if __name__ == "__main__":
    main()
