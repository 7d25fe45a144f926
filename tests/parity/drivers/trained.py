"""What transformers makes of a trained checkpoint, in float32: token ids, perplexity, and a greedy completion.

Usage: trained.py JOB.json ANSWER.json; the job is {"checkpoint", "texts", "scored", "n_ctx", "n_windows", "prompt",
"n_new"}, the answer {"ids": {mode: a list for each text}, "n_tokens": of the scored text, "ppl", "completion"}.
Windows are those of slmprof quality: the first token of each is BOS where the tokenizer adds one, and the predictions
in the second half are scored.
"""

import json
import math
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)  # more of them wait for each other where other programs run
job = json.loads(Path(sys.argv[1]).read_text())
tokenizer = AutoTokenizer.from_pretrained(job["checkpoint"])
model = AutoModelForCausalLM.from_pretrained(job["checkpoint"], dtype=torch.float32, attn_implementation="eager")
n_ctx, first = job["n_ctx"], job["n_ctx"] // 2


def ids_of(text: str, *, special: bool) -> list[int]:
    """Return the ids of a text, with or without BOS and EOS."""
    return tokenizer(text, add_special_tokens=special)["input_ids"]


tokens = ids_of(job["scored"], special=True)
nll: list[float] = []
with torch.no_grad():
    for start in range(0, len(tokens) - n_ctx + 1, n_ctx)[: job["n_windows"]]:
        window = tokens[start : start + n_ctx]
        if tokens[0] == tokenizer.bos_token_id:
            window[0] = tokens[0]
        logits = model(torch.tensor([window]), logits_to_keep=n_ctx - first).logits[0, :-1].double()
        chosen = logits.log_softmax(-1).gather(1, torch.tensor(window[first + 1 :])[:, None])
        nll += (-chosen[:, 0]).tolist()
    prompt = torch.tensor([ids_of(job["prompt"], special=True)])
    made = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=job["n_new"], pad_token_id=0
    )
answer = {
    "ids": {mode: [ids_of(text, special=special) for text in job["texts"]] for mode, special in job["modes"].items()},
    "n_tokens": len(tokens),
    "ppl": math.exp(sum(nll) / len(nll)),
    "completion": tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True),
}
Path(sys.argv[2]).write_text(json.dumps(answer))
