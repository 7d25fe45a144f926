"""Accuracy by file: McNemar's test and the bootstrap against their definitions, and what is compared with what."""

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.analysis.accuracy.figures import accuracies, accuracy_of
from profiler.analysis.accuracy.paired import mcnemar, paired
from profiler.records.task import TaskItems, TaskMetric, TaskRecord
from profiler.results.file import Results
from quant.gguf_io.artifact import Artifact
from tests.support.cells import artifact


def record(sha256: str, scores: list[float], **changes: object) -> TaskRecord:
    mean = sum(scores) / len(scores)
    se = math.sqrt(sum((each - mean) ** 2 for each in scores) / (len(scores) - 1) / len(scores))
    made = TaskRecord(
        artifact_sha256=sha256, env_id="e", task="quiz", n_shots=0, n_limit=None, harness="1", status="ok",
        started_at="2026-01-01T00:00:00Z", n_threads=1, n_items=len(scores), prompts_sha256="p",
        metrics=(TaskMetric(name="acc", filter="none", value=mean, se=se),),
        items=TaskItems(metric="acc", filter="none", scores=tuple(scores)),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def file(sha256: str, level: str, bpw: float) -> Artifact:
    return artifact(sha256, level=level, n_params=1000, tensor_bytes=int(bpw * 125))


def results(*records: TaskRecord) -> Results:
    files = [file("f16", "F16", 16.0), file("q4", "Q4_0", 4.5), file("q8", "Q8_0", 8.5)]
    return Results(artifacts={each.sha256: each for each in files}, tasks=list(records))


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_sign_test_on_what_differs(n_worse, n_better):
    n, least = n_worse + n_better, min(n_worse, n_better)
    tail = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    assert mcnemar(n_worse, n_better) == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_of_many_items_is_a_number():
    assert mcnemar(3000, 3000) == 1.0
    assert 0 < mcnemar(3000, 2700) < 1e-3


def test_a_paired_interval_is_far_narrower_than_two_apart():
    chance = random.Random(1)
    right = [float(chance.random() < 0.6) for _ in range(1000)]
    worse = [0.0 if each and chance.random() < 0.03 else each for each in right]

    found = paired(record("q4", worse), record("f16", right))

    assert found is not None
    assert found.n_better == 0 < found.n_worse
    assert found.difference.value == pytest.approx(-found.n_worse / 1000)
    assert found.difference.lo < found.difference.value < found.difference.hi < 0
    apart = 1.96 * (record("q4", worse).metrics[0].se or 0) * math.sqrt(2)
    assert found.difference.hi - found.difference.lo < apart
    assert found.p < 1e-4


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20))
def test_the_interval_is_as_wide_as_the_normal_one_for_many_items(seed):
    chance = random.Random(seed)
    one, two = ([float(chance.random() < 0.5) for _ in range(600)] for _ in range(2))
    found = paired(record("q4", one), record("f16", two))
    assert found is not None
    differences = [a - b for a, b in zip(one, two, strict=True)]
    mean = sum(differences) / 600
    se = math.sqrt(sum((each - mean) ** 2 for each in differences) / 599 / 600)
    assert (found.difference.hi - found.difference.lo) / 2 == pytest.approx(1.96 * se, rel=0.1)


def test_other_prompts_are_not_compared():
    assert paired(record("q4", [1, 0]), record("f16", [1, 1], prompts_sha256="other")) is None
    assert paired(record("q4", [1, 0]), record("f16", [1, 1, 0])) is None


def test_figures_of_each_file():
    right = [1.0, 1.0, 0.0, 1.0] * 10
    found = accuracies(results(record("f16", right), record("q4", [0.0, *right[1:]]),
                               record("f16", right, task="other"), record("q4", right, task="other"),
                               record("q8", right)))  # fmt: skip

    assert found["f16"].is_reference
    assert found["f16"].loss is None
    # Only the tasks that all files answered are in the mean.
    assert found["q4"].tasks == ("quiz",)
    assert found["q4"].mean is not None
    assert found["q4"].mean.value == pytest.approx(29 / 40)
    assert found["q4"].loss is not None
    assert found["q4"].loss.value == pytest.approx(1 / 40)
    assert found["q8"].loss is not None
    assert (found["q8"].loss.lo, found["q8"].loss.hi) == (0, 0)
    assert {each.task for each in found["q4"].by_task} == {"quiz", "other"}


def test_the_tasks_of_a_group_count_as_one():
    parts = [record("f16", [1.0, 0.0], task=f"part{n}", group="mmlu") for n in range(3)]
    alone = record("f16", [1.0, 1.0], task="alone")

    found = accuracies(results(*parts, alone))

    assert found["f16"].mean is not None
    assert found["f16"].mean.value == pytest.approx((0.5 + 1.0) / 2)


def test_the_fewest_examples_count():
    found = accuracies(results(record("f16", [1.0, 0.0], n_shots=5), record("f16", [1.0, 1.0], n_shots=1)))
    assert found["f16"].mean is not None
    assert found["f16"].mean.value == 1.0


def test_a_perplexity_is_no_accuracy():
    lower = TaskMetric(name="acc", filter="none", value=12.0, higher_is_better=False)
    assert accuracy_of(record("f16", [1.0, 0.0], metrics=(lower,))) is None
    assert accuracy_of(record("f16", [1.0, 0.0], status="failed")) is None
    assert accuracy_of(record("f16", [12.0, 7.0])) is None


def test_the_interval_of_a_mean_over_tasks_narrows_with_their_number():
    chance = random.Random(2)

    def width(n_tasks: int) -> float:
        records = []
        for number in range(n_tasks):
            for sha256 in ("f16", "q4"):
                scores = [float(chance.random() < 0.5) for _ in range(400)]
                records.append(record(sha256, scores, task=f"t{number}"))
        loss = accuracies(results(*records))["q4"].loss
        assert loss is not None
        return loss.hi - loss.lo

    assert width(9) == pytest.approx(width(1) / 3, rel=0.2)
