"""What the harness's own backend for transformers answers, in float32.

Usage: harness_hf.py JOB.json ANSWER.json; the job is {"checkpoint", "n_ctx", "pairs": [[context, continuation]],
"texts", "continuations": [[context, stops, n_new]]}, the answer {"scores": [[log-likelihood, greedy]], "sums",
"texts", "sure": for each continuation the text of its tokens before the first whose two best logits are close}.
"""

import json
import sys
from pathlib import Path

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

CLOSE = 1e-2

torch.set_num_threads(2)
job = json.loads(Path(sys.argv[1]).read_text())
tokenizer = AutoTokenizer.from_pretrained(job["checkpoint"])
model = AutoModelForCausalLM.from_pretrained(job["checkpoint"], dtype=torch.float32, attn_implementation="eager")
lm = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=8, max_length=job["n_ctx"], device="cpu")


def asked(kind: str, requests: list) -> list[Instance]:
    """Return requests as the harness makes them."""
    return [Instance(kind, {}, tuple(request), place) for place, request in enumerate(requests)]


def sure_text(context: str, text: str) -> str:
    """Return what comes before the first token whose two best logits are close."""
    before = lm.tok_encode(context)
    tokens = tokenizer.encode(context + text, add_special_tokens=False)
    tokens = [*before, *tokens[len(tokenizer.encode(context, add_special_tokens=False)) :]]
    with torch.no_grad():
        rows = model(torch.tensor([tokens])).logits[0, len(before) - 1 :]
    best = rows.topk(2).values
    gaps = (best[:, 0] - best[:, 1]).tolist()
    n_sure = next((place for place, gap in enumerate(gaps) if gap < CLOSE), len(gaps))
    return tokenizer.decode(tokens[len(before) : len(before) + n_sure], skip_special_tokens=True)


scores = lm.loglikelihood(asked("loglikelihood", job["pairs"]))
sums = lm.loglikelihood_rolling(asked("loglikelihood_rolling", [[text] for text in job["texts"]]))
options = [
    [context, {"until": list(stops), "max_gen_toks": n_new, "do_sample": False}]
    for context, stops, n_new in job["continuations"]
]
texts = lm.generate_until(asked("generate_until", options))
sure = [sure_text(one[0], text) for one, text in zip(job["continuations"], texts, strict=True)]
Path(sys.argv[2]).write_text(json.dumps({"scores": scores, "sums": sums, "texts": texts, "sure": sure}))
