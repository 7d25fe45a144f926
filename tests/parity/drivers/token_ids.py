"""Write llama.cpp's token ids of texts, as it splits them with nothing added and no control token looked for.

Usage: token_ids.py JOBS.json OUT.json, a list of {"path": of a GGUF file, "texts"}; a list of ids for each text
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
    lines = []
    for text in job["texts"]:
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 1))()
        n_ids = llama_cpp.llama_tokenize(vocab, data, len(data), ids, len(ids), False, False)
        assert n_ids >= 0
        lines.append(list(ids[:n_ids]))
    answers.append(lines)
    llama_cpp.llama_model_free(model)
Path(sys.argv[2]).write_text(json.dumps(answers))
