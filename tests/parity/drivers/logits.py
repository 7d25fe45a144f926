"""Write transformers' logits for fixed tokens, in float32.

Usage: logits.py JOBS.json, a list of {"checkpoint", "tokens", "target"}
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

for job in json.loads(Path(sys.argv[1]).read_text()):
    model = AutoModelForCausalLM.from_pretrained(job["checkpoint"], dtype=torch.float32, attn_implementation="eager")
    model.float()  # the values of some activations stay bfloat16
    with torch.no_grad():
        logits = model(torch.tensor([job["tokens"]])).logits[0]
    np.save(job["target"], logits.numpy().astype(np.float32))
