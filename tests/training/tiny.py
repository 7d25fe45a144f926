"""Train the tiny model of tests/data/tiny-llama: `PYTHON -m tests.training.tiny -o FOLDER`, some minutes on two cores.

PYTHON is an interpreter with torch, transformers and tokenizers, such as the one that `make parity` makes; nothing
else in the project needs them to use the model. The seed is fixed; another build of torch gives other last bits.
"""

import argparse
import copy
import json
import math
import random
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from tests.training.text import corpus_paragraphs, generated

SEED = 20
N_VOCAB = 1024
N_CTX = 512
WINDOWS_PER_STEP = 1
N_GENERATED, N_GENERATED_HELD_OUT = 500, 30
LEARNING_RATE, LEAST_LEARNING_RATE, WARM_UP_STEPS = 3e-3, 2e-4, 20
WRITE_EVERY = 40  # steps
_SPECIAL = ("<|begin|>", "<|end|>")
SHAPE = {
    "hidden_size": 256,  # K-quants need rows of 256
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": N_CTX,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}

_README = """# A tiny llama, trained

Test data: real weights for what means nothing on random ones, such as perplexity, divergence and importance matrices.
Made by `python -m tests.training.tiny` (which says what it needs) on profiler/measure/workloads/corpus.txt, whose every
tenth
paragraph is held out, and on sums, questions and small talk put together by tests/training/text.py. It has read little
and knows nothing; what it writes looks like text from afar. Losses are in nats per token, of the bfloat16 weights.

| figure | value |
|---|---|
{figures}"""


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Learn a byte-level vocabulary as GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB - len(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in _SPECIAL])
    assert tokenizer.get_vocab_size() == N_VOCAB
    return tokenizer


def tokens_of(tokenizer: Tokenizer, paragraphs: list[str]) -> torch.Tensor:
    """Return the ids of a text made of paragraphs."""
    return torch.tensor(tokenizer.encode("\n\n".join(paragraphs) + "\n\n").ids)


@torch.no_grad()
def loss_of(model: LlamaForCausalLM, tokens: torch.Tensor) -> float:
    """Return the mean loss over a text, in windows, in nats per token."""
    model.eval()
    total, count = 0.0, 0
    for first in range(0, len(tokens) - 1, N_CTX):
        window = tokens[first : first + N_CTX + 1]
        logits = model(window[None, :-1]).logits[0].float()
        total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
        count += len(window) - 1
    model.train()
    return total / count


def rate_at(step: int, n_steps: int) -> float:
    """Return the learning rate: a linear warm-up, then a cosine decay."""
    if step < WARM_UP_STEPS:
        return LEARNING_RATE * (step + 1) / WARM_UP_STEPS
    part = (step - WARM_UP_STEPS) / max(1, n_steps - WARM_UP_STEPS)
    return LEAST_LEARNING_RATE + (LEARNING_RATE - LEAST_LEARNING_RATE) * (1 + math.cos(math.pi * part)) / 2


def train(folder: Path, n_steps: int, n_threads: int) -> None:
    """Train and write; what there is every so many steps is written too, for a run that cannot end."""
    torch.manual_seed(SEED)
    torch.set_num_threads(n_threads)
    chosen = random.Random(SEED)
    learned, held_out = corpus_paragraphs()
    more = generated(N_GENERATED, SEED)
    tokenizer = train_tokenizer([*learned, *more])
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=N_VOCAB, bos_token_id=N_VOCAB - 2, eos_token_id=N_VOCAB - 1, **SHAPE)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1)
    held = {
        "corpus": tokens_of(tokenizer, held_out),
        "generated": tokens_of(tokenizer, generated(N_GENERATED_HELD_OUT, SEED + 1)),
    }
    began_s, text = time.monotonic(), torch.empty(0, dtype=torch.long)
    for step in range(n_steps):
        if len(text) <= WINDOWS_PER_STEP * N_CTX:
            # Each pass has its paragraphs in another order; generated ones outnumber the corpus's, so these come twice.
            paragraphs = [*learned, *learned, *more]
            chosen.shuffle(paragraphs)
            text = torch.cat([text, tokens_of(tokenizer, paragraphs)])
        rows = WINDOWS_PER_STEP
        batch, text = text[: rows * N_CTX + 1], text[rows * N_CTX :]
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, n_steps)
        logits = model(batch[:-1].reshape(rows, N_CTX)).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, N_VOCAB).float(), batch[1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 0 or step == n_steps - 1:
            print(f"step {step:4}  {time.monotonic() - began_s:5.0f} s  loss {loss.item():.3f}", flush=True)
        if (step + 1) % WRITE_EVERY == 0 or step == n_steps - 1:
            kept = copy.deepcopy(model).to(torch.bfloat16)
            reached = {
                "steps": step + 1,
                "of_steps": n_steps,
                "tokens_seen": (step + 1) * WINDOWS_PER_STEP * N_CTX,
                "cpu_s": round(time.process_time()),
                **{f"{name}_held_out_loss": round(loss_of(kept, tokens), 3) for name, tokens in held.items()},
            }
            print(json.dumps(reached), flush=True)
            write(folder, kept, tokenizer, reached)
    prompt = torch.tensor([tokenizer.encode("The river").ids])
    print(tokenizer.decode(kept.generate(prompt, max_new_tokens=80, do_sample=False)[0].tolist()))


def write(folder: Path, model: LlamaForCausalLM, tokenizer: Tokenizer, reached: dict[str, Any]) -> None:
    """Write the checkpoint as a hub has it."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _SPECIAL[0],
        "eos_token": _SPECIAL[1],
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": N_CTX,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    figures = "".join(f"| {name.replace('_', ' ')} | {value} |\n" for name, value in reached.items())
    (folder / "README.md").write_text(_README.format(figures=figures))


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("tests/data/tiny-llama"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    train(arguments.output, arguments.steps, arguments.threads)


if __name__ == "__main__":
    main()
