"""The named sets through the harness, on small stand-ins for their data: the real data is on a hub."""

import json
import subprocess
import sys
from typing import Any

import pytest

from profiler.tasks.code_child import passes
from profiler.tasks.sets import SETS
from quant.base.child import child_environment
from quant.base.errors import UserError
from tests.support.commandline import ROOT
from tests.support.stand_in_sets import N_ROWS


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    try:
        passes("pass")
        more = ["--execute-code"]
    except UserError:  # no namespaces here
        more = []
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.stand_in_sets", *more], cwd=ROOT, env=child_environment(), check=True,
        stdout=subprocess.PIPE, timeout=300,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def test_every_set_of_common_sense_is_answered_rightly(found: dict[str, Any]) -> None:
    for name in (*SETS["common-sense"].tasks[:-1], "mmlu_abstract_algebra"):
        for _, n_items, metrics, has_items in found[name]:
            assert n_items == N_ROWS
            assert set(metrics.values()) == {1.0}, (name, metrics)
            assert has_items


def test_examples_are_drawn_where_the_task_allows_it(found: dict[str, Any]) -> None:
    assert [each[0] for each in found["arc_easy"]] == [0, 1]
    assert [each[0] for each in found["truthfulqa_mc1"]] == [0]  # its prompt is fixed


def test_generated_answers(found: dict[str, Any]) -> None:
    for _, _, metrics, _ in found["gsm8k"]:
        assert metrics["exact_match,strict-match"] == 1.0
    if "humaneval" in found:
        ((_, _, metrics, has_items),) = found["humaneval"]
        assert metrics == {"pass@1,create_test": 1.0}
        assert has_items


def test_what_mathematics_needs_is_named_where_it_is_missing(found: dict[str, Any]) -> None:
    algebra = found["minerva_math_algebra"]
    if isinstance(algebra, str):
        assert "lm-eval[math]" in algebra
    else:
        assert algebra[0][2]["math_verify,none"] == 1.0
