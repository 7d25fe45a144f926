"""`make bench-tasks`: 200 questions of four choices with five examples, on SmolLM2-135M.

Our engine with shared prefixes, the same without (each choice computed whole, in batches), and llama-perplexity's
multiple choice on the same texts, in turns. Prints medians and ratios of whole processes.

Fails where sharing takes more than 0.4 of the time without it, or more than llama-perplexity.
"""

import argparse
import json
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from profiler.analysis.stats import median
from profiler.tasks.messages import Ask, Model, Pair, Reply
from profiler.tasks.sets import OFFLINE_FOLDER
from quant.base.child import Child
from tests.parity.oracle import Oracle
from tests.parity.real import MODELS, fetch_model

N_ITEMS, N_EXAMPLES, N_THREADS = 200, 5, 2
SHARE = 0.4


class Item(msgspec.Struct, frozen=True):
    """A question with its examples, and its choices."""

    context: str
    choices: list[str]
    answer: int


def items() -> list[Item]:
    """Return questions of the set that comes with slmprof, each several times with other examples."""
    lines = (OFFLINE_FOLDER / "common_sense.jsonl").read_text().splitlines()
    known = [json.loads(line) for line in lines]
    chance = random.Random(0)
    made = []
    for number in range(N_ITEMS):
        item = known[number % len(known)]
        examples = chance.sample([each for each in known if each is not item], N_EXAMPLES)
        shown = "".join(f"Question: {e['question']}\nAnswer: {e['choices'][e['answer']]}\n\n" for e in examples)
        made.append(Item(f"{shown}Question: {item['question']}\nAnswer:", item["choices"], item["answer"]))
    return made


def by_engine(path: Path, asked: list[Item], *, shared: bool) -> tuple[float, float]:
    """Return our seconds, and the share of right answers by mean log-likelihood per character."""
    begun = time.monotonic()
    with Child("tests.support.engine_worker_unshared" if not shared else "profiler.tasks.engine_worker") as child:
        child.send(Model(path=str(path), n_threads=N_THREADS, repack=True, n_ctx=2048, state_bytes=0))
        pairs = tuple(Pair(item.context, f" {choice}") for item in asked for choice in item.choices)
        child.send(Ask(pairs=pairs))
        reply = Reply(n_done=0)
        while reply.n_done is not None:
            reply = msgspec.json.decode(child.receive(), type=Reply)
    took_s = time.monotonic() - begun
    assert reply.failure is None, reply.failure
    right = 0
    for number, item in enumerate(asked):
        scores = [
            score / len(choice)
            for (score, _), choice in zip(reply.scores[4 * number : 4 * number + 4], item.choices, strict=True)
        ]
        right += scores.index(max(scores)) == item.answer
    return took_s, right / len(asked)


def write_multiple_choice(path: Path, asked: list[Item]) -> None:
    """Write the file that llama-perplexity --multiple-choice reads.

    Source: multiple_choice_task in tools/perplexity/perplexity.cpp of the pinned llama.cpp.
    """

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value.encode())) + value.encode()

    tasks = []
    for item in asked:
        labels = [int(place == item.answer) for place in range(len(item.choices))]
        answers = struct.pack("<I", len(labels)) + b"".join(map(text, item.choices)) + struct.pack("<4i", *labels)
        tasks.append(text(item.context) + answers + struct.pack("<I", 0))
    places, at = [], 0
    for task in tasks:
        places.append(at)
        at += len(task)
    path.write_bytes(struct.pack(f"<I{len(tasks)}I", len(tasks), *places) + b"".join(tasks))


def by_llama_perplexity(tool: Path, path: Path, questions: Path) -> float:
    """Return its seconds."""
    command = [
        str(tool),
        "-m",
        str(path),
        "-bf",
        str(questions),
        "--multiple-choice",
        "-t",
        str(N_THREADS),
        "-c",
        "2048",
    ]
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return time.monotonic() - begun


def main() -> None:
    """Take turns and print.

    Raises:
        SystemExit: a bar is missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("parity-work"))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    oracle = Oracle(arguments.work.resolve(), arguments.python)
    path, asked = fetch_model(MODELS[0], oracle.work / "real"), items()
    questions = oracle.work / "questions.bin"
    write_multiple_choice(questions, asked)
    times: dict[str, list[float]] = {"shared": [], "alone": [], "llama-perplexity": []}
    for _ in range(arguments.turns):
        shared_s, right = by_engine(path, asked, shared=True)
        times["shared"].append(shared_s)
        times["alone"].append(by_engine(path, asked, shared=False)[0])
        times["llama-perplexity"].append(by_llama_perplexity(oracle.llama_perplexity, path, questions))
        print({name: round(each[-1], 1) for name, each in times.items()}, f"{right:.1%} right", flush=True)
    middle = {name: median(each) for name, each in times.items()}
    print(f"medians of {arguments.turns} turns:", {name: round(each, 1) for name, each in middle.items()})
    share, against = middle["shared"] / middle["alone"], middle["shared"] / middle["llama-perplexity"]
    print(f"with shared prefixes {share:.2f} of the time without, {against:.2f} of llama-perplexity's")
    if share > SHARE or against > 1:
        sys.exit("missed")


if __name__ == "__main__":
    main()
