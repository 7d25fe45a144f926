"""The calibration's worker times real operations, and a prediction from them is near what llama.cpp takes."""

from pathlib import Path

import pytest

from profiler.calibration import steadiness, worker
from profiler.calibration.graphs import Shape, graph_nodes
from profiler.engine.node_copy import NodeCopies, causal_mask
from profiler.predict.kinds import is_free, is_of_weights, kind_of
from profiler.records.calibration import NodeTime, Yardstick

SHAPES = (Shape("smollm2-135m", (512, 1024), ("f16", "q8_0")), Shape("granite-4.0-h-350m"))


@pytest.fixture
def small(monkeypatch):
    """One type, short streams, two shapes."""
    monkeypatch.setattr(worker, "FIRST_TYPES", ("q8_0",))
    monkeypatch.setattr(worker, "OTHER_TYPES", ("iq2_xxs",))
    monkeypatch.setattr(worker, "_STREAM_BYTES", (1 << 20, 4 << 20))
    monkeypatch.setattr(steadiness, "_ENOUGH_NS", 100_000)
    monkeypatch.setattr(worker, "graph_nodes", lambda scratch: graph_nodes(scratch, SHAPES))


def test_the_worker_times_products_and_nodes(small, tmp_path):
    found = worker.work_on(worker.Job(threads=(1, 2), repack=True, budget_s=600, scratch=str(tmp_path)))
    assert {each.type for each in found.products} == {"q8_0", "iq2_xxs"}
    assert {each.n_threads for each in (*found.products, *found.nodes)} == {1, 2}
    assert {each.n_tokens for each in found.products} == {1, 8, 64, 512}
    assert all(each.ns > 0 for each in (*found.products, *found.nodes))
    kinds = {each.kind.split()[0] for each in found.nodes}
    assert kinds >= {"FLASH_ATTN_EXT", "RMS_NORM", "ROPE", "SWIGLU", "SSM_SCAN", "SSM_CONV", "GET_ROWS", "SET_ROWS"}
    attention = {each.kind for each in found.nodes if each.kind.startswith("FLASH")}
    assert attention >= {"FLASH_ATTN_EXT f16/f16 64", "FLASH_ATTN_EXT q8_0/q8_0 64"}


def test_a_budget_that_is_used_up_ends_it(small, tmp_path):
    found = worker.work_on(worker.Job(threads=(1,), repack=False, budget_s=0, scratch=str(tmp_path)))
    assert (found.products, found.nodes, found.yardsticks) == ([], [], [])


def test_times_are_set_right_by_what_the_yardstick_took():
    steady = steadiness.Steadiness()
    assert steady.now_ns(1) > 0
    assert len(steady.found) == 1
    steady.found[:] = [Yardstick(n_threads=n, ns=ns) for n, ns in ((1, 100.0), (1, 110.0), (1, 200.0), (2, 50.0))]
    timed = NodeTime(kind="MUL", n_tokens=1, work=1, n_threads=1, ns=30.0)
    assert steady.set_right(timed, 220.0).ns == 15.0
    assert steady.set_right(timed, 110.0).ns == 30.0
    steady.close()


def test_every_node_of_a_graph_can_be_computed_alone(tmp_path):
    done = set()
    for taken in graph_nodes(Path(tmp_path), SHAPES[1:]):
        if taken.form in done or is_free(taken.node) or is_of_weights(taken.node):
            continue
        done.add(taken.form)
        copies = NodeCopies(taken.form, 2)
        copies.set_threads(2)
        copies.run()
        copies.close()
        assert kind_of(taken.node)
    assert len(done) > 10


def test_a_causal_mask(tmp_path):
    forms = [
        t.form for t in graph_nodes(Path(tmp_path), SHAPES[:1]) if t.node.op == "FLASH_ATTN_EXT" and t.n_tokens > 1
    ]
    mask = causal_mask(forms[0].sources[3])
    assert mask.shape == (512, 512)
    assert (mask[0] == 0).sum() == 1
    assert (mask[-1] == 0).all()
