"""Questions about files to the installed llama.cpp, in a process of its own: a wrong file can abort it."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[2]
_N_DECODED = 6


class Question(msgspec.Struct, kw_only=True):
    """A file, and the texts to be tokenized."""

    path: str
    texts: list[str] = []
    add_special: bool = False
    vocab_only: bool = False


class Answer(msgspec.Struct, kw_only=True):
    """What llama.cpp makes of it."""

    loads: bool
    log: str = ""
    n_params: int = 0
    n_vocab: int = 0
    decodes: bool = False  # status 0, and every logit is finite
    ids: list[list[int]] = []
    back: list[str] = []  # the ids as text again
    template: str | None = None
    metadata: dict[str, str] = {}


def ask(questions: Sequence[Question], *, timeout_s: float = 120) -> list[Answer]:
    """Ask about several files in one process; when it dies, the error names the file."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tests.support.llamacpp"],
        input=msgspec.json.encode(questions),
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GGML_NO_BACKTRACE": "1"},
        timeout=timeout_s,
        check=False,
    )
    answers = [msgspec.json.decode(line, type=Answer) for line in done.stdout.splitlines()]
    if len(answers) != len(questions):
        file = questions[len(answers)].path
        raise AssertionError(f"llama.cpp died on {file} ({done.returncode}): {done.stderr.decode()[-2000:]}")
    return answers


def _answer(question: Question, llama: Any, log: list[str]) -> Answer:
    log.clear()
    how = llama.llama_model_default_params()
    how.n_gpu_layers, how.vocab_only = 0, question.vocab_only
    how.use_extra_bufts = False  # the file is tested here, not a CPU's second layout of it
    model = llama.llama_model_load_from_file(os.fsencode(question.path), how)
    if not model:
        return Answer(loads=False, log="".join(log)[-2000:])
    vocab = llama.llama_model_get_vocab(model)
    ids = [_tokenize(llama, vocab, text, question.add_special) for text in question.texts]
    template = llama.llama_model_chat_template(model, None)
    answer = Answer(
        loads=True,
        n_params=llama.llama_model_n_params(model),
        n_vocab=llama.llama_vocab_n_tokens(vocab),
        decodes=not question.vocab_only and _decodes(llama, model, vocab),
        ids=ids,
        back=[_detokenize(llama, vocab, each) for each in ids],
        template=template.decode() if template else None,
        metadata=dict(_metadata(llama, model)),
    )
    llama.llama_model_free(model)
    return answer


def _tokenize(llama: Any, vocab: Any, text: str, add_special: bool) -> list[int]:
    data = text.encode()
    tokens = (ctypes.c_int32 * (len(data) + 8))()
    count = llama.llama_tokenize(vocab, data, len(data), tokens, len(tokens), add_special, True)
    assert count >= 0
    return list(tokens[:count])


def _detokenize(llama: Any, vocab: Any, ids: list[int]) -> str:
    tokens = (ctypes.c_int32 * max(1, len(ids)))(*ids)
    buffer = ctypes.create_string_buffer(64 * (len(ids) + 1))
    count = llama.llama_detokenize(vocab, tokens, len(ids), buffer, len(buffer), False, True)
    assert count >= 0
    return buffer.raw[:count].decode(errors="replace")


def _decodes(llama: Any, model: Any, vocab: Any) -> bool:
    settings = llama.llama_context_default_params()
    settings.n_ctx, settings.n_threads, settings.n_threads_batch = 64, 1, 1
    settings.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED  # llama.cpp's graph of PLM aborts with it
    context = llama.llama_init_from_model(model, settings)
    tokens = (ctypes.c_int32 * _N_DECODED)(*range(1, _N_DECODED + 1))
    status = llama.llama_decode(context, llama.llama_batch_get_one(tokens, _N_DECODED))
    logits = llama.llama_get_logits_ith(context, -1)[: llama.llama_vocab_n_tokens(vocab)]
    llama.llama_free(context)
    # Logits that are all the same would mean that nothing was computed.
    return status == 0 and all(abs(each) < float("inf") for each in logits) and len(set(logits)) > 1


def _metadata(llama: Any, model: Any) -> list[tuple[str, str]]:
    pairs = []
    key, value = ctypes.create_string_buffer(256), ctypes.create_string_buffer(1 << 16)
    for index in range(llama.llama_model_meta_count(model)):
        llama.llama_model_meta_key_by_index(model, index, key, len(key))
        llama.llama_model_meta_val_str_by_index(model, index, value, len(value))
        pairs.append((key.value.decode(), value.value.decode(errors="replace")))
    return pairs


def main() -> None:
    """Read questions from stdin, write a line for each answer."""
    import llama_cpp

    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    log: list[str] = []
    callback = llama_cpp.llama_log_callback(lambda _level, text, _data: log.append(text.decode(errors="replace")))
    llama_cpp.llama_log_set(callback, ctypes.c_void_p())
    llama_cpp.llama_backend_init()
    for question in msgspec.json.decode(sys.stdin.buffer.read(), type=list[Question]):
        stdout.write(msgspec.json.encode(_answer(question, llama_cpp, log)) + b"\n")
        stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
