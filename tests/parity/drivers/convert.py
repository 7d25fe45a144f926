"""Run llama.cpp's converter with one answer replaced: the pre-tokenizer's name.

A home-trained tokenizer has no hash in its table, so both sides are given the same name.
Usage: convert.py LLAMA_CPP PRE CHECKPOINT [the converter's own options]
"""

import runpy
import sys
from pathlib import Path

llama_cpp, pre = Path(sys.argv[1]), sys.argv[2]
sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]

from conversion.base import TextModel  # noqa: E402

TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
sys.argv = [str(llama_cpp / "convert_hf_to_gguf.py"), *sys.argv[3:]]
runpy.run_path(sys.argv[0], run_name="__main__")
