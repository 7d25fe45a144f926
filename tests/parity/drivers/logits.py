"""Print nothing, write logits: transformers' answer for fixed tokens, in float32.

Usage: logits.py CHECKPOINT TOKENS.json OUT.npy
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

tokens = json.loads(Path(sys.argv[2]).read_text())
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager")
with torch.no_grad():
    logits = model(torch.tensor([tokens])).logits[0]
np.save(sys.argv[3], logits.numpy().astype(np.float32))
