"""The process that compares tokens: it opens a file's header with llama.cpp, and the checkpoint's own tokenizer.

Run as `python -m quant.convert.verify.worker`. A wrong file may abort it.
"""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from quant.base.errors import UserError
from quant.base.llama_bindings import llama_cpp, token_ids
from quant.base.worker import serve
from quant.convert.verify.differences import compared
from quant.convert.verify.messages import Answer, Job
from quant.convert.verify.probe import probe_lines
from quant.convert.verify.reference import Reference, open_reference


class UnopenedError(Exception):
    """llama.cpp cannot open the file; stderr has its reason."""


class LlamaTokens:
    """A file without weights, opened by llama.cpp.

    Its log goes to stderr: a callback in Python would wait for the interpreter, which is reading the other tokenizer.

    Raises:
        UnopenedError: llama.cpp cannot open it.
    """

    def __init__(self, path: Path) -> None:
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        self._no_devices = (ctypes.c_void_p * 1)(None)
        params.devices = ctypes.cast(self._no_devices, ctypes.c_void_p)
        params.n_gpu_layers = 0
        params.load_mode = llama_cpp.LLAMA_LOAD_MODE_NONE  # others abort on a file without weights
        params.no_alloc = True
        params.use_extra_bufts = False
        self._model: Any = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise UnopenedError
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)

    def encode(self, text: str, *, add_special: bool) -> tuple[int, ...]:
        """Return the ids of a text, with special tokens parsed."""
        return tuple(token_ids(self._vocab, text, add_special=add_special, parse_special=True))


def work(job: Job) -> Answer:
    """Open both, encode the probe, and sort the differences."""
    try:
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(LlamaTokens, Path(job.header))
            reference: Reference | None = open_reference(Path(job.checkpoint), job.n_tokens)
            llama = opening.result()
        if reference is None:
            for text in probe_lines(()):  # a vocabulary without some bytes ends the worker here, not a measurement
                llama.encode(text, add_special=True)
            return Answer()
        return compared(llama.encode, reference, probe_lines(reference.special_texts))
    except UnopenedError:
        return Answer(opened=False)
    except UserError as error:
        return Answer(refusal=str(error))


if __name__ == "__main__":
    serve(Job, work)
