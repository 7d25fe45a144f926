"""Code that a model wrote, run against a task's tests: the harness's `code_eval` without the code it fetches for that.

The estimate of pass@k is that of Chen et al., "Evaluating Large Language Models Trained on Code" (2021), section 2.1.
"""

import math
from collections import Counter
from collections.abc import Sequence

from profiler.tasks.code_child import passes


class CodeEval:
    """Stands for the metric of that name in `evaluate`."""

    def compute(
        self,
        *,
        references: Sequence[str],
        predictions: Sequence[Sequence[str]],
        k: Sequence[int] = (1, 10, 100),
        **_: object,
    ) -> tuple[dict[str, float], dict[int, list[tuple[int, dict[str, object]]]]]:
        """Return the share of tasks of which one of k programs passes its tests, and each program's result."""
        outcomes = {
            task: [passes(f"{program}\n{tests}\n") for program in programs]
            for task, (tests, programs) in enumerate(zip(references, predictions, strict=True))
        }
        counts = Counter({task: sum(found) for task, found in outcomes.items()})
        rates = {
            f"pass@{each}": math.fsum(pass_at(each, len(found), counts[task]) for task, found in outcomes.items())
            / len(outcomes)
            for each in k
            if outcomes and all(len(found) >= each for found in outcomes.values())
        }
        details = {
            task: [(place, {"passed": passed}) for place, passed in enumerate(found)]
            for task, found in outcomes.items()
        }
        return rates, details  # type: ignore[return-value]


def pass_at(k: int, n: int, n_right: int) -> float:
    """Return the probability that one of k programs drawn from n is right."""
    return 1.0 - math.comb(n - n_right, k) / math.comb(n, k)
