"""Write llama.cpp's logits for fixed tokens, one row per position.

Usage: llama_logits.py FILE.gguf TOKENS.json OUT.npy
"""

import ctypes
import json
import sys
from pathlib import Path

import llama_cpp
import numpy as np

quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p())
tokens = json.loads(Path(sys.argv[2]).read_text())
model_params = llama_cpp.llama_model_default_params()
model_params.n_gpu_layers = 0
model_params.use_extra_bufts = False
model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), model_params)
params = llama_cpp.llama_context_default_params()
params.n_ctx = params.n_batch = params.n_ubatch = len(tokens)
params.type_k = params.type_v = 0  # float32: the cache must not be what differs
params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
context = llama_cpp.llama_init_from_model(model, params)
batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
batch.n_tokens = len(tokens)
for index, token in enumerate(tokens):
    batch.token[index], batch.pos[index], batch.n_seq_id[index] = token, index, 1
    batch.seq_id[index][0], batch.logits[index] = 0, True
assert llama_cpp.llama_decode(context, batch) == 0
n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
rows = [
    np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, index), shape=(n_vocab,)).copy()
    for index in range(len(tokens))
]
np.save(sys.argv[3], np.stack(rows))
