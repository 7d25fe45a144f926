"""Answers to the harness's requests against its own backend for transformers, on the same requests; and accuracy
against llama-perplexity's, on the same items.

The models are the trained one of this repository and SmolLM2-135M, as transformers 4 makes a checkpoint of it, both as
F32. The requests are those of the set that comes with slmprof, with and without examples; whole texts are pieces of the
text that quality is measured on.
"""

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from profiler.measure.corpus import default_text
from profiler.tasks.harness import Harness
from profiler.tasks.messages import Ask, HarnessOptions, Model, Pair, Reply
from profiler.tasks.sets import OFFLINE_FOLDER, SETS
from quant.base.child import Child
from quant.convert.to_gguf import convert
from tests.parity.oracle import Oracle, run
from tests.parity.real import DRIVERS, MODELS, checkpoint_of
from tests.support.checkpoints import TRAINED

N_CTX = 512
SHOTS = (0, 5)
LOG_LIKELIHOOD, ROLLING, SAME_TEXTS = 2e-2, 1e-3, 0.95
N_TEXTS, TEXT_CHARS = 12, 4000
_ACCURACY = re.compile(r"^\s*(\d+)\s+([\d.]+)%?", re.MULTILINE)


def compare_tasks(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Compare both models, and judge by the bars."""
    print("tasks against the harness's own backend for transformers, and llama-perplexity", flush=True)
    folder = oracle.work / "tasks"
    folder.mkdir(exist_ok=True)
    findings = []
    for name, checkpoint in (("trained", TRAINED), ("SmolLM2-135M", checkpoint_of(MODELS[0], oracle))):
        whole = folder / f"{name}.gguf"
        if not whole.exists():
            convert(checkpoint, whole, outtype="f32")
        asks = _requests(whole)
        ours = [_answers(whole, ask) for ask in asks]
        theirs = _theirs(oracle, checkpoint, asks, folder / name)
        findings.append({"model": name, **_judged(asks, ours, theirs)})
        findings[-1] |= _hellaswag(oracle, whole, folder / f"{name}.txt")
        findings[-1]["ok"] &= findings[-1]["hellaswag_equal"]
        _show(findings[-1])
    return all(found["ok"] for found in findings), findings


def _requests(path: Path) -> list[Ask]:
    """Return what the harness asks in the set that comes with slmprof, and whole texts."""
    asks: list[Ask] = []

    def ask(request: Ask) -> Reply:
        asks.append(request)
        n = len(request.pairs)
        return Reply(scores=((0.0, False),) * n, texts=("",) * len(request.continuations))

    names = SETS["offline"].tasks
    harness = Harness(HarnessOptions(names=names, include=None, trust_include=False, execute_code=False))
    for name in names:
        for task_name, task in harness.tasks(name).items():
            for n_shots in harness.shots_of(task, SHOTS):
                harness.evaluate(task_name, task, n_shots, None, ask)
    text, chance = default_text().content.decode(), random.Random(0)
    starts = [chance.randrange(len(text) - TEXT_CHARS) for _ in range(N_TEXTS)]
    return [*asks, Ask(texts=tuple(text[start : start + TEXT_CHARS] for start in starts))]


def _answers(path: Path, ask: Ask) -> Reply:
    with Child("profiler.tasks.engine_worker") as child:
        child.send(Model(path=str(path), n_threads=2, repack=True, n_ctx=N_CTX, state_bytes=0))
        child.send(ask)
        while True:
            reply = msgspec.json.decode(child.receive(), type=Reply)
            if reply.n_done is None:
                assert reply.failure is None, reply.failure
                return reply


def _theirs(oracle: Oracle, checkpoint: Path, asks: list[Ask], folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    job, answer = folder / "job.json", folder / "answer.json"
    job.write_text(
        json.dumps(
            {
                "checkpoint": str(checkpoint),
                "n_ctx": N_CTX,
                "pairs": [[each.context, each.continuation] for ask in asks for each in ask.pairs],
                "texts": [text for ask in asks for text in ask.texts],
                "continuations": [[each.context, each.stops, each.n_new] for ask in asks for each in ask.continuations],
            }
        )
    )
    run([str(oracle.python_harness), str(DRIVERS / "harness_hf.py"), str(job), str(answer)], quiet=True,
        HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")  # fmt: skip
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def _judged(asks: list[Ask], ours: list[Reply], theirs: dict[str, Any]) -> dict[str, Any]:
    scores = [each[0] for reply in ours for each in reply.scores]
    their_scores = [each[0] for each in theirs["scores"]]
    sums = [each for reply in ours for each in reply.sums]
    texts = [each for reply in ours for each in reply.texts]
    worst = max(abs(one - other) for one, other in zip(scores, their_scores, strict=True))
    rolling = max(abs(one / other - 1) for one, other in zip(sums, theirs["sums"], strict=True))
    n_same = sum(
        one == other or one.startswith(sure.rstrip("\n"))
        for one, other, sure in zip(texts, theirs["texts"], theirs["sure"], strict=True)
    )
    n_identical = sum(one == other for one, other in zip(texts, theirs["texts"], strict=True))
    n_other_choices = n_ties = first = 0
    for ask in asks:
        # The questions of four choices each.
        for start in range(first, first + len(ask.pairs), 4):
            one, other = scores[start : start + 4], their_scores[start : start + 4]
            if one.index(max(one)) != other.index(max(other)):
                n_other_choices += 1
                n_ties += sorted(other)[-1] - sorted(other)[-2] < LOG_LIKELIHOOD
        first += len(ask.pairs)
    return {
        "n_scores": len(scores),
        "worst": worst,
        "rolling": rolling,
        "n_texts": len(texts),
        "n_same": n_same,
        "n_identical": n_identical,
        "n_other_choices": n_other_choices,
        "n_ties": n_ties,
        "ok": worst <= LOG_LIKELIHOOD
        and rolling <= ROLLING
        and n_same >= SAME_TEXTS * len(texts)
        and n_other_choices == n_ties,
    }


def _hellaswag(oracle: Oracle, whole: Path, text: Path) -> dict[str, Any]:
    """Put the common sense questions to llama-perplexity in its own format, and count whose answers differ.

    It scores from the first token in which the choices differ. So only questions count whose choices differ at once.
    """
    lines = (OFFLINE_FOLDER / "common_sense.jsonl").read_text().splitlines()
    known = [json.loads(line) for line in lines]
    counts = _token_counts(whole, known)
    items = [(item, n) for item, n in zip(known, counts, strict=True) if n is not None]
    shown = [line for item, _ in items for line in (item["question"], str(item["answer"]), *item["choices"])]
    text.write_text("\n".join(shown) + "\n")
    command = [str(oracle.llama_perplexity), "-m", str(whole), "-f", str(text), "--hellaswag", "--hellaswag-tasks",
               str(len(items)), "-t", "2", "-c", str(N_CTX)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = float(_ACCURACY.findall(done.stdout + done.stderr)[-1][1]) / 100
    pairs = tuple(Pair(item["question"], f" {choice}") for item, _ in items for choice in item["choices"])
    scores = [score for score, _ in _answers(whole, Ask(pairs=pairs)).scores]
    n_right = n_ties = 0
    for number, (item, lengths) in enumerate(items):
        means = [one / n for one, n in zip(scores[4 * number : 4 * number + 4], lengths, strict=True)]
        n_right += means.index(max(means)) == item["answer"]
        n_ties += sorted(means)[-1] - sorted(means)[-2] < LOG_LIKELIHOOD
    return {
        "hellaswag": n_right / len(items),
        "their_hellaswag": theirs,
        "n_hellaswag": len(items),
        "n_hellaswag_ties": n_ties,
        "hellaswag_equal": abs(n_right - theirs * len(items)) <= n_ties + 1e-3,
    }


def _token_counts(whole: Path, items: list[dict[str, Any]]) -> list[list[int] | None]:
    """Return how many tokens each choice has; None for a question whose choices begin alike."""
    texts = [
        text for item in items for text in (item["question"], *(f"{item['question']} {c}" for c in item["choices"]))
    ]
    job, answer = whole.with_suffix(".texts.json"), whole.with_suffix(".ids.json")
    job.write_text(json.dumps([{"path": str(whole), "texts": texts}]))
    run([sys.executable, str(DRIVERS / "token_ids.py"), str(job), str(answer)], quiet=True)
    (ids,) = json.loads(answer.read_text())
    found: list[list[int] | None] = []
    for place in range(0, len(ids), 5):
        n = len(ids[place])
        firsts = {tuple(each[n : n + 1]) for each in ids[place + 1 : place + 5]}
        is_prefix = all(each[:n] == ids[place] for each in ids[place + 1 : place + 5])
        found.append([len(each) - n for each in ids[place + 1 : place + 5]] if is_prefix and len(firsts) > 1 else None)
    return found


def _show(found: dict[str, Any]) -> None:
    print(
        f"  {found['model']}: {found['n_scores']} log-likelihoods, worst {found['worst']:.2e}; rolling "
        f"{found['rolling']:.2e}; {found['n_other_choices']} other choices, {found['n_ties']} of them ties; texts "
        f"identical {found['n_identical']}, same up to a tie {found['n_same']} of {found['n_texts']}; "
        f"llama-perplexity's hellaswag {found['their_hellaswag']:.3f}, ours {found['hellaswag']:.3f} "
        f"of {found['n_hellaswag']} items ({found['n_hellaswag_ties']} ties)  "
        f"{'ok' if found['ok'] else 'MISSED'}",
        flush=True,
    )
