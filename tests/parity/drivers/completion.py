"""Print what llama.cpp answers to a prompt, always taking the most probable token.

Usage: completion.py FILE.gguf PROMPT N_NEW
"""

import sys

from llama_cpp import Llama

model = Llama(sys.argv[1], n_ctx=256, n_gpu_layers=0, n_threads=1, verbose=False)
# As tokens: to a text the library also adds a separator, where the file names one.
prompt = model.tokenize(sys.argv[2].encode(), add_bos=True, special=False)
answer = model.create_completion(prompt, max_tokens=int(sys.argv[3]), temperature=0.0)
sys.stdout.write(answer["choices"][0]["text"])
