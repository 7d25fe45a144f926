"""Score and continue the same requests over shared prefixes and one by one: prints the largest difference as JSON.

Usage: python -m tests.support.scored_sequences FILE.gguf

A process of its own, since llama.cpp is in it.
"""

import json
import random
import sys
from pathlib import Path

from profiler.engine.sequences import SequenceEngine
from profiler.records.config import base_config
from profiler.tasks.sequences import Cache, Prompt, Scored, generate, score

N_CELLS = 512


def main(path: Path) -> None:
    engine = SequenceEngine()
    run = base_config(n_ctx=N_CELLS, n_batch=N_CELLS, n_outputs_max=64, swa_full=True)
    engine.load(path, run)
    chance = random.Random(3)

    def draw(n: int) -> tuple[int, ...]:
        return tuple(chance.randrange(3, engine.n_vocab) for _ in range(n))

    examples = draw(150)  # before all questions
    requests = []
    for _ in range(9):
        question = examples + draw(chance.randrange(20, 90))
        requests += [Scored(question + draw(n), n) for n in (1, 1, 3, 12)]
    requests += [Scored(draw(40), 40 - 1), Scored(draw(300), 200)]
    prompts = [Prompt(examples + draw(chance.randrange(5, 60)), 12, ()) for _ in range(7)]

    def scores(cache: Cache, asked: list[Scored]) -> list[float]:
        return [each.log_likelihood for each in score(engine, cache, asked, lambda n_done: None)]

    together, alone = Cache(N_CELLS, 16), Cache(N_CELLS, 2)
    engine.open_sequences(run, together.n_sequences)
    found, texts = scores(together, requests), generate(engine, together, prompts, lambda n_done: None)
    engine.open_sequences(run, alone.n_sequences)
    wanted = [scores(alone, [request])[0] for request in requests]
    same = [generate(engine, alone, [prompt], lambda n_done: None)[0] for prompt in prompts]
    can_rewind = engine.can_rewind
    engine.close()
    print(
        json.dumps(
            {
                "difference": max(abs(one - other) for one, other in zip(found, wanted, strict=True)),
                "spread": max(wanted) - min(wanted),
                "n_same_texts": sum(one == other for one, other in zip(texts, same, strict=True)),
                "n_texts": len(texts),
                "can_rewind": can_rewind,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
