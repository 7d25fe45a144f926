"""The process in which llama.cpp quantizes: it gets one job, and sends llama.cpp's log and the status of each level.

Run as `python -m quant.quantize.llama_worker`. A bad file may make llama.cpp abort; then only this process is lost.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from quant.base.errors import UserError
from quant.base.worker import Pipes, end_child
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
    """One of three: a piece of the log, the status of a level that ended, or a reason that the user can act on."""

    text: str | None = None
    status: int | None = None
    refusal: str | None = None


def work(job: Job, send: Callable[[Event], None]) -> None:
    """Do a job; its events go to `send` as they come."""
    try:
        imatrix = open_imatrix(Path(job.imatrix)) if job.imatrix else None
        values = read_imatrix(imatrix) if imatrix else {}
    except UserError as error:
        send(Event(refusal=str(error)))
        return

    from quant.base.llama_bindings import llama_cpp

    def log(level: int, text: bytes, user_data: object) -> None:
        send(Event(text=text.decode("utf-8", errors="replace")))

    callback = llama_cpp.llama_log_callback(log)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    entries = (llama_cpp.llama_model_imatrix_data * (len(values) + 1))()
    for entry, (name, data) in zip(entries, values.items(), strict=False):
        entry.name = name.encode()
        entry.data = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = data.size
    overrides = _overrides(llama_cpp, job, imatrix)
    for ftype in job.ftypes:
        params = _params(llama_cpp, ftype, entries if values else None)
        params.nthread, params.dry_run = job.n_threads, job.out is None
        if imatrix:
            params.kv_overrides = ctypes.cast(overrides, ctypes.POINTER(llama_cpp.llama_model_kv_override))
        out = os.fsencode(job.out) if job.out else b""
        send(Event(status=llama_cpp.llama_model_quantize(os.fsencode(job.source), out, ctypes.byref(params))))


def dry_runs(source: Path, ftypes: Sequence[int], *, as_with_imatrix: bool) -> list[tuple[int, str]]:
    """Try levels in this process, and return each one's status and log.

    Args:
        as_with_imatrix: have the types that the levels have with an importance matrix. They depend only on whether
            there is one, not on what it holds. Source: has_imatrix in src/llama-quant.cpp of the pinned llama.cpp.
    """
    from quant.base.llama_bindings import llama_cpp

    pieces: list[bytes] = []
    callback = llama_cpp.llama_log_callback(lambda _level, text, _data: pieces.append(text))
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    one = (ctypes.c_float * 1)(1.0)
    entries = (llama_cpp.llama_model_imatrix_data * 2)()
    entries[0].name, entries[0].data, entries[0].size = b"any", one, 1
    found = []
    for ftype in ftypes:
        params = _params(llama_cpp, ftype, entries if as_with_imatrix else None)
        params.dry_run = True
        status = llama_cpp.llama_model_quantize(os.fsencode(source), b"", ctypes.byref(params))
        found.append((status, b"".join(pieces).decode(errors="replace")))
        pieces.clear()
    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(), ctypes.c_void_p(0))  # NULL: this one ends here
    return found


def _params(llama_cpp: Any, ftype: int, imatrix: Any) -> Any:
    """Return llama-quantize's defaults, with an array of entries of an importance matrix or None."""
    return llama_cpp.llama_model_quantize_params(
        nthread=1,
        ftype=ftype,
        output_tensor_type=_TYPE_COUNT,
        token_embedding_type=_TYPE_COUNT,
        allow_requantize=False,
        quantize_output_tensor=True,
        only_copy=False,
        pure=False,
        keep_split=False,
        dry_run=False,
        imatrix=ctypes.cast(imatrix, ctypes.POINTER(llama_cpp.llama_model_imatrix_data)) if imatrix else None,
        kv_overrides=None,
        tt_overrides=None,
        prune_layers=None,
        max_buf_size=_BUFFER_BYTES,
    )


def _overrides(llama_cpp: Any, job: Job, imatrix: ImatrixHeader | None) -> Any:
    """Record the importance matrix in the file's keys, as llama-quantize does."""
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
    pipes = Pipes()
    # Loaded before the job comes: the parent may start this process ahead.
    import quant.base.llama_bindings  # noqa: F401

    job = pipes.receive(Job)
    if job is not None:
        pipes.end_with_parent([job.out] if job.out else [])
        work(job, pipes.send)
    end_child()


if __name__ == "__main__":
    main()
