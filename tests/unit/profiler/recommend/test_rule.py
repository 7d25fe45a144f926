"""What is best, for `recommend` and `pick` alike."""

import msgspec
import pytest

from profiler.recommend.limits import limits_text, misses
from profiler.recommend.records import Candidate, Limits
from profiler.recommend.rule import MAX_KLD, MIN_BPW, Bar, bar_of, goal_of
from quant.base.units import MIB

ANY = Candidate(
    cell_key="a",
    artifact_sha256="b",
    quant="Q4_0",
    bpw=4.5,
    file_bytes=300 * MIB,
    n_threads=1,
    n_threads_batch=1,
    setting="",
    n_ctx=512,
    rounds=6,
    decode_tps=None,
    prefill_tps=None,
    ttft_ms=None,
    memory_bytes=None,
    memory_estimated=False,
    kld=None,
    kld_se=None,
    ppl=None,
    flags=(),
)
ON_COSTS = {
    "max_memory_bytes": 1,
    "min_decode_tps": 1.0,
    "min_prefill_tps": 1.0,
    "max_ttft_ms": 1.0,
    "max_file_bytes": 1,
}


def test_every_limit_on_costs_makes_quality_the_goal() -> None:
    assert set(ON_COSTS) | {"max_kld", "n_ctx", "min_accuracy", "max_accuracy_loss"} == set(Limits.__struct_fields__)
    for name, value in ON_COSTS.items():
        assert goal_of(msgspec.structs.replace(Limits(), **{name: value})) == "quality"
    assert goal_of(Limits(max_kld=0.1, n_ctx=512)) == "speed"


@pytest.mark.parametrize(
    ("limits", "with_kld", "bar"),
    [
        (Limits(), True, Bar(max_kld=MAX_KLD)),
        (Limits(), False, Bar(min_bpw=MIN_BPW)),
        (Limits(max_kld=0.2), True, Bar(max_kld=0.2)),
        (Limits(min_decode_tps=5), True, Bar()),
        (Limits(min_accuracy=(("quiz", 0.5),)), True, Bar()),
        (Limits(max_accuracy_loss=0.01), False, Bar()),
        (Limits(min_decode_tps=5, max_kld=0.2), True, Bar(max_kld=0.2)),
    ],
    ids=["default", "synthetic", "kld", "speed", "accuracy", "loss", "both"],
)
def test_bar(limits: Limits, *, with_kld: bool, bar: Bar) -> None:
    assert bar_of(limits, with_kld=with_kld) == bar


def test_size_of_the_file_is_a_limit() -> None:
    assert misses(ANY, Limits(max_file_bytes=300 * MIB)) == ()
    (miss,) = misses(ANY, Limits(max_file_bytes=200 * MIB))
    assert (miss.option, miss.reached, miss.relaxed) == ("--max-file", 300 * MIB, 300 * MIB)
    assert limits_text(Limits(max_file_bytes=200 * MIB)) == "--max-file 200MiB"
