"""Make LoRA adapters of checkpoints with peft, merge them with merge_and_unload, and save both.

Usage: adapters.py JOBS.json; jobs are a list of {"base", "adapter", "merged", "class", "options"}: folders, the class
in transformers, and arguments of LoraConfig. The base is read in float32, and so is the sum.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, get_peft_model

_SPREAD = 0.1  # of the factors: what they add is as large as the weights

for number, job in enumerate(json.loads(Path(sys.argv[1]).read_text())):
    torch.manual_seed(number)
    model = getattr(transformers, job["class"]).from_pretrained(job["base"], dtype=torch.float32)
    tuned = get_peft_model(model, LoraConfig(**job["options"]))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.normal_(std=_SPREAD)
    tuned.save_pretrained(job["adapter"])
    tuned.merge_and_unload().save_pretrained(job["merged"])
