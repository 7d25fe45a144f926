"""The operator report: the tables, the strips, the notes; and the trace for Perfetto."""

import json
from typing import Any

import msgspec
import pytest

from profiler.operators.collect import observe
from profiler.operators.records import Observation, ObservationSettings
from profiler.operators.report import OperatorReport, report_of
from profiler.operators.table import WIDTH, heat, render
from profiler.operators.trace import trace_of
from tests.support.cells import artifact
from tests.support.nodes import ObservedFake, graph
from tests.support.scripted_engine import FakeClock, FakeEngine, Script
from tests.support.summaries import environment

SETTINGS = ObservationSettings(n_prefill=6, n_depth=0, n_gen=2, reps=2, seed=0)


def reported(n_threads: int = 1, ceiling: float | None = None, **facts: Any) -> tuple[Observation, OperatorReport]:
    clock = FakeClock()
    plain = FakeEngine(clock, Script(decode_ns=2000, decode_ns_per_depth=0, prefill_ns_per_token=400))
    prefill, decode = observe(plain, ObservedFake(clock, graph()), SETTINGS, n_threads=n_threads, clock=clock)
    seen = Observation(prefill=prefill, decode=decode, flash_attn=True, backends=("CPU",))
    report = report_of(
        seen,
        artifact(**facts),
        environment(),
        SETTINGS,
        n_threads=n_threads,
        repack=True,
        ceiling_bytes_per_s=ceiling,
    )
    return seen, report


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_sums_are_side_by_side() -> None:
    text = flat(render(reported()[1]))
    # 19 working nodes of 100 ns beside 2000 and 2400 ns.
    assert "ms per run raw sum correction corrected unobserved gap [lowest, highest]" in text
    assert "decode 0.002 0.000 0.002 0.002 -5.0% [-5.0%, -5.0%]" in text
    assert "prefill 0.002 0.000 0.002 0.002 -20.8% [-20.8%, -20.8%]" in text
    assert "correction of decode: 0.01 µs for each of 20 nodes, measured on 4 that compute nothing" in text


def test_the_table_fits_a_terminal_of_a_hundred_columns() -> None:
    for report in (reported()[1], reported(2, 5e9, weights="synthetic", standin_for="x" * 70)[1]):
        assert max(len(line) for line in render(report).splitlines()) <= WIDTH


def test_modules_and_operators_are_listed_with_their_calls() -> None:
    lines = render(reported()[1]).splitlines()
    decode = lines[lines.index(next(line for line in lines if line.startswith("One decode step"))) :]
    modules = [line.split("  ")[0] for line in decode[3:10]]
    assert modules == ["attention", "FFN", "LM head", "norm", "embedding", "KV copy", "other"]
    operators = [line.split()[:2] for line in decode if line.startswith(("MUL_MAT", "ADD", "RMS_NORM", "SWIGLU"))]
    assert operators == [["RMS_NORM+MUL", "3"], ["MUL_MAT", "5"], ["ADD", "3"], ["SWIGLU", "1"]]


def test_synthetic_weights_are_marked() -> None:
    text = render(reported(weights="synthetic", standin_for="tiny-1m")[1])
    assert text.startswith("tiny (940.0K, SYNTHETIC weights in the shape of tiny-1m), Q8_0, 1 thread\n")
    assert "- synthetic: " in text
    assert "SYNTHETIC" not in render(reported()[1])


def test_the_ceiling_is_shown_where_there_is_one() -> None:
    assert "of ceiling" not in render(reported()[1])
    assert "the read bandwidth was not measured with 1 thread" in flat(render(reported()[1]))
    text = render(reported(ceiling=20e9)[1])
    assert "GFLOP/s  of ceiling" in text
    assert "the 20.0 GB/s that this device reads with 1 thread;" in flat(text)


def test_with_threads_both_constants_are_shown() -> None:
    text = flat(render(reported(2)[1]))
    assert text.count("0.01 µs for one in 2 threads, measured on 3 pairs") == 2


def test_disturbed_runs_are_reported_first() -> None:
    seen, _ = reported()
    disturbed = [
        tuple(ns + (5000 if index == run else 0) for index, ns in enumerate(each))
        for run, each in enumerate(seen.decode.group_ns)
    ]
    decode = msgspec.structs.replace(seen.decode, group_ns=tuple(disturbed))
    changed = msgspec.structs.replace(seen, decode=decode)
    report = report_of(changed, artifact(), environment(), SETTINGS, n_threads=1, repack=True)
    notes = [line for line in render(report).splitlines() if line.startswith("- ")]
    assert notes[0].startswith("- noisy: the decode runs were disturbed.")
    assert "noisy" not in render(reported()[1])


@pytest.mark.parametrize(
    ("values", "strip"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], "▁▂▃▄▅▆▇██"),
        ([5, 5], "██"),
        ([0, 0], "▁▁"),
        ([-1, 8], "▁█"),
        ([], ""),
    ],
)
def test_a_strip_goes_from_nothing_to_the_slowest(values: list[float], strip: str) -> None:
    assert heat(values) == strip


def test_the_record_is_json_without_raw_times() -> None:
    found = json.loads(msgspec.json.encode(reported()[1]))
    assert set(found["phases"]) == {"prefill", "decode"}
    decode = found["phases"]["decode"]
    assert decode["sums"]["raw_ns"] == 1900 + 140
    assert decode["modules"][0]["name"] == "attention"
    assert (found["weights"], found["n_threads"], found["ceiling_bytes_per_s"]) == ("real", 1, None)


def test_the_trace_is_what_perfetto_reads() -> None:
    seen, report = reported()
    trace = json.loads(json.dumps(trace_of(seen, report)))
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    names = [event["args"]["name"] for event in trace["traceEvents"] if event["ph"] == "M"]
    assert names == ["tiny Q8_0, 1 thread", "nodes", "modules"]
    nodes = [event for event in events if event["tid"] == 1]
    assert len(nodes) == 2 * len(seen.decode.groups)
    first, second = nodes[:2]
    # Microseconds: 107 ns, then 1 ns between the two, then 207.
    assert (first["name"], first["cat"], first["ts"], first["dur"]) == ("GET_ROWS", "embedding", 0.0, 0.107)
    assert (second["name"], second["ts"], second["dur"]) == ("RMS_NORM+MUL", 0.108, 0.207)
    assert nodes[2]["args"] == {
        "node": "Qcur-0",
        "weight": "blk.0.attn_q.weight",
        "type": "q4_0",
        "layer": 0,
        "bytes": 896 * 896 // 32 * 18 + 2 * 896 * 4,
        "flops": 2 * 896 * 896,
    }
    modules = [event["name"] for event in events if event["tid"] == 2]
    assert modules[: len(modules) // 2] == [
        "embedding",
        "norm 0",
        "attention 0",
        "KV copy 0",
        "attention 0",
        "other 0",
        "norm 0",
        "FFN 0",
        "other 0",
        "norm",
        "LM head",
    ]
    ends = dict.fromkeys((1, 2), 0.0)
    for event in events:
        assert event["ts"] >= ends[event["tid"]] - 0.0005
        ends[event["tid"]] = event["ts"] + event["dur"]
