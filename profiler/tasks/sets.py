"""Named sets of tasks: what the survey asked of models, and a small set that comes with slmprof.

Source of the survey's tasks: Lu et al., "Small Language Models: Survey, Measurements, and Insights", arXiv 2409.15790,
section 3. The tasks themselves are lm-evaluation-harness's, under its names.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiler.tasks.messages import Wanted

HARNESS = "0.4.13"  # of lm_eval, whose names and figures these are
OFFLINE_FOLDER = Path(__file__).parent / "offline"  # task files and questions


class TaskSet(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks under one name."""

    tasks: tuple[str, ...]
    about: str
    shots: tuple[int, ...] | None = None  # None: each task's own


_COMMON_SENSE = (
    "hellaswag",
    "winogrande",
    "piqa",
    "boolq",
    "openbookqa",
    "arc_easy",
    "arc_challenge",
    "commonsense_qa",
    "truthfulqa_mc1",
    "mmlu",
)
_OFFLINE = ("offline_common_sense", "offline_arithmetic", "offline_instructions", "offline_tools", "offline_retrieval")
_MINERVA = ("algebra", "counting_and_prob", "geometry", "intermediate_algebra", "num_theory", "prealgebra", "precalc")
# Names of this program for tasks that count as one and are no group of the harness.
GROUPS = {"minerva_math": tuple(f"minerva_math_{part}" for part in _MINERVA)}
_MATH = ("gsm8k", "minerva_math")
_CODE = ("humaneval",)
SETS = {
    "common-sense": TaskSet(tasks=_COMMON_SENSE, about="common sense and knowledge"),
    # Tasks that draw examples from data of their own; the others come with fixed prompts.
    "in-context": TaskSet(
        tasks=tuple(task for task in _COMMON_SENSE if task not in ("truthfulqa_mc1", "mmlu")),
        about="learning from examples: without, with one and with five",
        shots=(0, 1, 5),
    ),
    "math": TaskSet(tasks=_MATH, about="mathematics"),
    "code": TaskSet(tasks=_CODE, about="Python functions; needs --execute-code"),
    "survey": TaskSet(tasks=(*_COMMON_SENSE, *_MATH, *_CODE), about="all of these"),
    "offline": TaskSet(tasks=_OFFLINE, about="200 questions that come with slmprof; small, and needs no network"),
}
# Where the harness keeps these tasks: reading the fourteen thousand files of all others takes a minute.
_FOLDERS = {
    "boolq": "super_glue/boolq",
    "arc_easy": "arc",
    "arc_challenge": "arc",
    "truthfulqa_mc1": "truthfulqa",
    "mmlu": "mmlu/default",
    "humaneval": "humaneval",
    **dict.fromkeys(GROUPS["minerva_math"], "minerva_math"),
    **{name: name for name in ("hellaswag", "winogrande", "piqa", "openbookqa", "commonsense_qa", "gsm8k")},
}


def wanted_tasks(names: Sequence[str], shots: tuple[int, ...] | None) -> list[Wanted]:
    """Return the tasks of some names of sets and tasks, each once."""
    found: dict[str, Wanted] = {}
    for name in names:
        known = SETS.get(name)
        for task in known.tasks if known else (name,):
            for part in GROUPS.get(task, (task,)):
                group = task if task in GROUPS else None
                found.setdefault(part, Wanted(part, group, shots or (known.shots if known else None)))
    return list(found.values())


def folders_of(names: Sequence[str]) -> list[str] | None:
    """Return the harness's folders with some tasks; None where one is not known to be in any."""
    names = [name for name in names if name not in _OFFLINE]
    if any(name not in _FOLDERS for name in names):
        return None
    return sorted({_FOLDERS[name] for name in names})


def is_offline(names: Sequence[str]) -> bool:
    """Return whether any of the tasks comes with slmprof."""
    return any(name in _OFFLINE for name in names)
