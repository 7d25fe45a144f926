"""From rounds to figures. One repetition of 6 tokens in and 4 out is a prefill of 60 ms and a decode of 4 · 25 ms."""

import msgspec
import pytest

from profiler.analysis.memory_parts import model_rss_of, peak_rss_of
from profiler.analysis.summarise import summarise
from profiler.export.flat import FIELDS, flat
from profiler.records.cell_summary import CellSummary
from profiler.records.round import Buffers, Memory, Round
from tests.support.cells import artifact
from tests.support.rounds import MIB, a_round, no_round, results, sample, with_cell
from tests.support.summaries import ENVIRONMENT, environment

# DESIGN §4, word for word.
CONTRACT = (
    """
cell_key, artifact_sha256, env_id, label, model, arch, weights, standin_for, kind, n_params, quant, imatrix, bpw,
file_bytes, device, backend, mode, workload, n_threads, n_threads_batch, n_prompt, n_gen, n_depth, decode_depth, n_ctx,
n_batch, n_ubatch, n_outputs_max, type_k, type_v, flash_attn, flash_attn_asked, load_mode, repack, status, error,
rounds, reps, prefill_tps, prefill_tps_lo, prefill_tps_hi, decode_tps, decode_tps_lo, decode_tps_hi, ttft_ms,
ttft_ms_lo, ttft_ms_hi, itl_p50_ms, itl_p95_ms, itl_p99_ms, load_ms, peak_rss_bytes, model_rss_bytes, anon_bytes,
file_backed_bytes, pss_bytes, weights_bytes, repacked_bytes, kv_cache_bytes, compute_buffer_bytes, utilisation,
joules_per_token, ppl, ppl_se, kld, kld_se, same_top, text_sha256, flags
""".replace("\n", " ")
    .strip()
    .split(", ")
)


def only(*rounds: Round, **more: object) -> CellSummary:
    (found,) = summarise(results(*rounds, **more))  # type: ignore[arg-type]
    return found


def decoded(index: int, step_ms: float, **changes: object) -> Round:
    return a_round(index, sample(decode_ms=(step_ms,) * 4), **changes)


def test_the_fields_are_those_of_the_contract_in_its_order() -> None:
    assert list(FIELDS)[: len(CONTRACT)] == [name.strip() for name in CONTRACT]


def test_rates_are_tokens_over_seconds() -> None:
    cell = only(a_round())
    assert cell.prefill_tps.value == pytest.approx(100)
    assert cell.decode_tps.value == pytest.approx(40)


def test_a_rounds_value_is_the_median_of_its_repetitions_and_the_cells_that_of_its_rounds() -> None:
    quick, slow, odd = sample(30, (10,) * 4), sample(60, (20,) * 4), sample(600, (200,) * 4)
    # Prefill medians of the rounds: 30, 60 and 600 ms. Of all nine repetitions it would be 600 ms.
    cell = only(a_round(0, quick, quick, odd), a_round(1, slow, slow, odd), a_round(2, odd, odd, odd))
    assert cell.prefill_tps.value == pytest.approx(6 / 0.060)
    assert cell.decode_tps.value == pytest.approx(4 / 0.080)
    assert (cell.prefill_tps.least, cell.prefill_tps.most) == pytest.approx((6 / 0.600, 6 / 0.030))
    assert (cell.rounds, cell.reps) == (3, 3)


def test_of_an_even_number_of_repetitions_the_middle_times_are_averaged() -> None:
    cell = only(a_round(0, sample(decode_ms=(10,) * 4), sample(decode_ms=(30,) * 4)))
    assert cell.decode_tps.value == pytest.approx(4 / 0.080)  # the time is averaged, not the rate: (40 + 120) / 2 ms


def test_under_six_rounds_there_is_no_interval_but_smallest_and_largest() -> None:
    cell = only(*(decoded(index, step) for index, step in enumerate((10, 20, 25, 40, 50))))
    assert cell.decode_tps.value == pytest.approx(40)
    assert (cell.decode_tps.kind, cell.prefill_tps.kind, cell.ttft_ms) == ("min-max", "min-max", None)
    assert (cell.decode_tps.interval_lo, cell.decode_tps.interval_hi) == (None, None)
    assert (cell.decode_tps.lo, cell.decode_tps.hi) == pytest.approx((20, 100))
    assert (cell.decode_tps.least, cell.decode_tps.most) == pytest.approx((20, 100))


def test_six_rounds_have_an_interval_from_the_smallest_to_the_largest() -> None:
    cell = only(*(decoded(index, step) for index, step in enumerate((50, 10, 20, 25, 40, 20))))
    assert cell.decode_tps.value == pytest.approx((50 + 40) / 2)
    assert (cell.decode_tps.lo, cell.decode_tps.hi) == pytest.approx((20, 100))


def test_nine_rounds_leave_the_outermost_values_out() -> None:
    cell = only(*(decoded(index, step) for index, step in enumerate((1, 10, 20, 20, 25, 40, 40, 50, 1000))))
    assert (cell.decode_tps.lo, cell.decode_tps.hi) == pytest.approx((20, 100))
    assert (cell.decode_tps.least, cell.decode_tps.most) == pytest.approx((1, 1000))


def test_a_time_to_first_token_is_prefill_and_choice_and_stands_only_in_a_request() -> None:
    request = with_cell(a_round(0, sample(60, (25,) * 4, choose_ms=2)), mode="request")
    assert only(request).ttft_ms.value == pytest.approx(62)
    assert only(a_round()).ttft_ms is None


def test_gaps_between_tokens_are_taken_over_all_steps() -> None:
    # 1 to 100 ms over four steps of 25 repetitions: the places are 49.5, 94.05 and 98.01 of 0 to 99.
    steps = [sample(decode_ms=tuple(range(start, start + 4))) for start in range(1, 101, 4)]
    cell = only(a_round(0, *steps[:10]), a_round(1, *steps[10:]))
    assert (cell.token_gaps.p50_ms, cell.token_gaps.p95_ms, cell.token_gaps.p99_ms) == pytest.approx(
        (50.5, 95.05, 99.01)
    )


def test_what_was_not_measured_is_null() -> None:
    prefill_only = only(with_cell(a_round(0, sample(decode_ms=())), n_gen=0))
    assert prefill_only.prefill_tps.value == pytest.approx(100)
    assert (prefill_only.decode_tps, prefill_only.token_gaps) == (None, None)
    decode_only = only(with_cell(a_round(0, sample(prefill_ms=None)), n_prompt=0))
    assert decode_only.prefill_tps is None
    assert decode_only.decode_tps.value == pytest.approx(40)


@pytest.mark.parametrize(
    ("changes", "odd"),
    [({}, sample(0, (0, 0))), ({"n_prompt": 0}, sample(5)), ({"n_gen": 0}, sample()), ({}, sample(0, ()))],
)
def test_a_strangers_zeros_give_no_figure_and_no_error(changes: dict[str, int], odd: object) -> None:
    summarise(results(*(with_cell(a_round(index, odd), **changes) for index in range(6))))  # type: ignore[arg-type]


def test_memory_is_the_peak_and_the_peak_less_the_bare_worker() -> None:
    cell = only(a_round())
    assert cell.memory.peak_rss_bytes == 230 * MIB
    assert cell.model_rss_bytes.value == 200 * MIB
    # Of the last phase, after decode.
    assert cell.memory.anon_bytes == 70 * MIB
    assert cell.memory.file_backed_bytes == 140 * MIB
    assert cell.memory.pss_bytes == 209 * MIB
    assert (cell.memory.weights_bytes, cell.memory.repacked_bytes) == (100 * MIB, 50 * MIB)
    assert (cell.memory.kv_cache_bytes, cell.memory.compute_buffer_bytes) == (20 * MIB, 10 * MIB)
    assert cell.load_ms == 1000


def test_memory_and_load_are_medians_over_rounds() -> None:
    rounds = [
        a_round(index, load_ns=load_ns, memory={"imported": Memory(rss_bytes=10), "decoded": Memory(rss_bytes=rss)})
        for index, (load_ns, rss) in enumerate([(1_000_000, 100), (9_000_000, 900), (2_000_000, 200)])
    ]
    cell = only(*rounds)
    assert (cell.load_ms, cell.memory.peak_rss_bytes, cell.model_rss_bytes.value) == (2, 200, 190)
    assert (cell.model_rss_bytes.least, cell.model_rss_bytes.most) == (90, 890)


def test_a_system_without_a_peak_gives_the_largest_phase() -> None:
    phases = {"imported": Memory(rss_bytes=10), "prefilled": Memory(rss_bytes=90), "decoded": Memory(rss_bytes=80)}
    assert peak_rss_of(phases) == 90
    assert model_rss_of(phases) == 80


def test_memory_that_the_system_does_not_tell_is_null() -> None:
    assert peak_rss_of({"imported": Memory(), "decoded": Memory()}) is None
    assert model_rss_of({"decoded": Memory(rss_bytes=80)}) is None
    cell = only(a_round(memory={}, buffers=Buffers(), load_ns=None))
    fields = ("peak_rss_bytes", "model_rss_bytes", "anon_bytes", "pss_bytes", "weights_bytes", "load_ms")
    assert [flat(cell)[name] for name in fields] == [None] * len(fields)


def test_a_failed_round_makes_the_cell_failed_but_keeps_the_others_figures() -> None:
    cell = only(a_round(0), no_round(1, message="killed"))
    assert (cell.status, cell.error, cell.rounds) == ("failed", "killed", 1)
    assert cell.decode_tps.value == pytest.approx(40)


def test_failed_goes_before_skipped_and_skipped_before_ok() -> None:
    ok, skipped, failed = a_round(0), no_round(1, "skipped", "too large"), no_round(2, "failed", "killed")
    assert (only(ok).status, only(ok).error) == ("ok", None)
    skipped_cell = only(ok, skipped)
    assert (skipped_cell.status, skipped_cell.error) == ("skipped", "too large")
    # The reason is that of the status, whichever round came last.
    for rounds in ([ok, skipped, failed], [no_round(0, "failed", "killed"), skipped]):
        cell = only(*rounds)
        assert (cell.status, cell.error) == ("failed", "killed")


def test_of_several_failures_the_last_rounds_is_told() -> None:
    assert only(no_round(1, message="second"), no_round(0, message="first")).error == "second"


def test_a_cell_without_samples_has_its_setting_and_no_figures() -> None:
    cell = only(no_round(0, "skipped", "too large"))
    assert (cell.rounds, cell.reps, cell.backend, cell.flash_attn) == (0, 0, None, None)
    assert (cell.decode_tps, cell.memory.peak_rss_bytes, cell.flags) == (None, None, ())
    assert (cell.config.n_threads, cell.artifact.level, cell.started_at) == (1, "Q8_0", "2025-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("mode", "n_depth", "decode_depth"), [("separate", 0, 0), ("separate", 9, 9), ("request", 0, 6), ("request", 9, 15)]
)
def test_decode_depth_is_what_is_in_the_cache_when_decode_begins(mode: str, n_depth: int, decode_depth: int) -> None:
    assert only(with_cell(a_round(), mode=mode, n_depth=n_depth)).config.decode_depth == decode_depth


def test_two_environments_are_never_mixed() -> None:
    other = environment(governor="powersave")
    here = [decoded(index, 25) for index in range(6)]
    there = [decoded(index, 100, env_id=other.id) for index in range(6)]
    cells = summarise(results(*here, *there, environments=(ENVIRONMENT, other)))
    assert {cell.env_id: cell.decode_tps.value for cell in cells} == {
        ENVIRONMENT.id: pytest.approx(40),
        other.id: pytest.approx(10),
    }
    assert sorted(cell.decode_tps.hi or 0 for cell in cells) == pytest.approx([10, 40])
    assert len({cell.cell_key for cell in cells}) == 1


def test_settings_and_files_are_never_mixed() -> None:
    rounds = [with_cell(decoded(0, 25), n_threads=2), decoded(0, 50), with_cell(decoded(0, 100), "b" * 64)]
    assert sorted(cell.decode_tps.value for cell in summarise(results(*rounds))) == pytest.approx([10, 20, 40])


def test_facts_of_the_file_and_of_the_run_are_told() -> None:
    file = artifact(weights="synthetic", standin_for="big", level="Q4_0", imatrix_sha256="f" * 64)
    (cell,) = summarise(results(with_cell(a_round(), cores=(2, 3)), artifacts=[file]), label="mine")
    assert (cell.label, cell.kind, cell.artifact.model, cell.artifact.arch) == ("mine", "measured", "tiny", "llama")
    assert (cell.artifact.weights, cell.artifact.standin_for, cell.artifact.level, cell.artifact.imatrix_sha256) == (
        "synthetic",
        "big",
        "Q4_0",
        "f" * 64,
    )
    assert (cell.artifact.n_params, cell.artifact.file_bytes, cell.artifact.bpw) == (
        940_000,
        1_100_000,
        pytest.approx(8_000_000 / 940_000),
    )
    assert (cell.backend, cell.flash_attn, cell.config.flash_attn, cell.config.cores) == ("CPU", True, "auto", (2, 3))


def test_the_smallest_model_and_level_come_first() -> None:
    files = [
        artifact("b" * 64, model="large", n_params=9_000_000, tensor_bytes=9_000_000),
        artifact("c" * 64, level="Q4_0", tensor_bytes=500_000),
        artifact("d" * 64),
    ]
    rounds = [with_cell(a_round(), each.sha256, n_threads=threads) for each in files for threads in (4, 1)]
    found = [
        (cell.artifact.model, cell.artifact.level, cell.config.n_threads)
        for cell in summarise(results(*rounds, artifacts=files))
    ]
    assert found == [(model, level, threads) for model, level in (("tiny", "Q4_0"), ("tiny", "Q8_0"), ("large", "Q8_0"))
                     for threads in (1, 4)]  # fmt: skip


def test_flags_are_names() -> None:
    busy_core = msgspec.structs.replace(a_round(), env_id=environment(cores_physical=1).id)
    (cell,) = summarise(results(with_cell(busy_core, n_threads=2), environments=[environment(cores_physical=1)]))
    assert cell.flags == ("oversubscribed",)
