"""Make a checkpoint of a GGUF file with transformers, as its documentation shows.

Usage: from_gguf.py JOB.json, which is {"gguf", "checkpoint"}
"""

import json
import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

job = json.loads(Path(sys.argv[1]).read_text())
gguf = Path(job["gguf"])
model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
if quantizer := getattr(model, "hf_quantizer", None):
    # transformers 5 unpacks the weights where it has no kernel for them, but goes on to call them quantized, and
    # does not save such a model.
    quantizer.remove_quantization_config(model)
model.save_pretrained(job["checkpoint"])
AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(job["checkpoint"])
