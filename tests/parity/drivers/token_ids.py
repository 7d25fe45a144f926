"""Write llama.cpp's token ids of texts, with nothing added and no control token looked for unless the job says so.

Usage: token_ids.py JOBS.json OUT.json, a list of {"path": of a GGUF file, "texts", "add_special", "parse_special"};
a list of ids for each text
"""

import ctypes
import json
import sys
from pathlib import Path

import llama_cpp

quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p())
answers = []
for job in json.loads(Path(sys.argv[1]).read_text()):
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(job["path"].encode(), params)
    assert model, f"{job['path']} cannot be loaded"
    vocab = llama_cpp.llama_model_get_vocab(model)
    flags = job.get("add_special", False), job.get("parse_special", False)
    lines = []
    for text in job["texts"]:
        data = text.encode()
        ids = (ctypes.c_int32 * (3 * len(data) + 16))()  # a space may become three bytes
        n_ids = llama_cpp.llama_tokenize(vocab, data, len(data), ids, len(ids), *flags)
        assert n_ids >= 0
        lines.append(list(ids[:n_ids]))
    answers.append(lines)
    llama_cpp.llama_model_free(model)
Path(sys.argv[2]).write_text(json.dumps(answers))
