"""The named sets on small data of the real ones' schemas, answered by a script that knows what is right.

Usage: python -m tests.support.stand_in_sets [--execute-code]; prints {task: [shots, items, {metric: value}] | error}.

A process of its own, since it changes the harness.
"""

import json
import sys
from typing import Any

import datasets

from profiler.tasks.harness import Harness
from profiler.tasks.messages import Ask, HarnessOptions, Reply
from profiler.tasks.sets import SETS, wanted_tasks

N_ROWS = 8
_LETTERS = ["A", "B", "C", "D", "E"]


def rows_of(path: str) -> list[dict[str, Any]]:
    """Return rows as the data set on the hub has them; what is right has "right" in it, is yes, or is the first."""
    four = ["right one", "wrong two", "wrong three", "wrong four"]
    made: dict[str, dict[str, Any]] = {
        "Rowan/hellaswag": {
            "activity_label": "Cooking",
            "ctx_a": "A man cooks.",
            "ctx_b": "he",
            "endings": four,
            "label": "0",
        },
        "allenai/winogrande": {
            "sentence": "The cup and the bag fell; the _ broke.",
            "option1": "right",
            "option2": "bag",
            "answer": "1",
        },
        "baber/piqa": {"goal": "Open a door", "sol1": "right way", "sol2": "wrong way", "label": 0},
        "aps/super_glue": {"passage": "Water is wet.", "question": "is water wet", "label": 1},
        "allenai/openbookqa": {"question_stem": "The sun is", "choices": _labelled(four), "answerKey": "A"},
        "allenai/ai2_arc": {"question": "What is wet?", "choices": _labelled(four), "answerKey": "A"},
        "tau/commonsense_qa": {"question": "Where?", "choices": _labelled([*four, "x"]), "answerKey": "A"},
        "truthfulqa/truthful_qa": {
            "question": "Why?",
            "mc1_targets": {"choices": four, "labels": [1, 0, 0, 0]},
            "mc2_targets": {"choices": four, "labels": [1, 0, 0, 0]},
        },
        "cais/mmlu": {"question": "Which?", "subject": "x", "choices": four, "answer": 0},
        "openai/gsm8k": {"question": "2 + 2?", "answer": "Two and two.\n#### 4"},
        "EleutherAI/hendrycks_math": {
            "problem": "What is $2 + 2$?",
            "solution": "It is $\\boxed{4}$.",
            "level": "Level 1",
            "type": "Algebra",
        },
        "openai/openai_humaneval": {
            "task_id": "0",
            "prompt": "def add(a, b):\n",
            "canonical_solution": "",
            "entry_point": "add",
            "test": "def check(f):\n    assert f(2, 3) == 5\n",
        },
    }
    return [{**made[path], "id": str(number)} for number in range(N_ROWS)]


def _labelled(texts: list[str]) -> dict[str, list[str]]:
    return {"text": texts, "label": _LETTERS[: len(texts)]}


def load_dataset(path: str, name: str | None = None, **_: Any) -> datasets.DatasetDict:
    """Stand for the function of that name."""
    data = datasets.Dataset.from_list(rows_of(path))
    return datasets.DatasetDict(dict.fromkeys(("train", "validation", "test", "dev"), data))


def answer(ask: Ask) -> Reply:
    """Answer rightly."""

    def is_right(context: str, continuation: str) -> bool:
        last = context.rpartition("\n\n")[2]
        return "right" in continuation or continuation.strip() in ("yes", "A") or "the right" in last[-12:]

    scores = tuple((0.0 if is_right(pair.context, pair.continuation) else -9.0, True) for pair in ask.pairs)
    texts = tuple(
        "    return a + b\n" if "def add" in each.context else " It is.\n#### 4" for each in ask.continuations
    )
    return Reply(scores=scores, texts=texts)


def main(*, execute_code: bool) -> None:
    wanted = wanted_tasks(("survey",), None)
    names = tuple(each.name for each in wanted if execute_code or each.name not in SETS["code"].tasks)
    harness = Harness(HarnessOptions(names=names, include=None, trust_include=False, execute_code=execute_code))
    assert not harness.unknown()
    datasets.load_dataset = load_dataset
    found: dict[str, Any] = {}
    for name in names:
        try:
            tasks = harness.tasks(name)
        except Exception as error:  # noqa: BLE001
            found[name] = f"{type(error).__name__}: {error}"
            continue
        task_name, task = next(iter(tasks.items()))
        for n_shots in harness.shots_of(task, (0, 1)):
            result = harness.evaluate(task_name, task, n_shots, None, answer)
            metrics = {f"{each.name},{each.filter}": each.value for each in result.metrics}
            found.setdefault(task_name, []).append([n_shots, result.n_items, metrics, result.items is not None])
    print(json.dumps(found))


if __name__ == "__main__":
    main(execute_code="--execute-code" in sys.argv)
