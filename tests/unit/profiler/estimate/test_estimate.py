"""Estimates as arithmetic, table and JSON, on synthetic facts."""

import json
import tempfile

import msgspec
import pytest
from click.testing import CliRunner

from profiler.cli.estimate import estimate as command
from profiler.engine.log import Log, caches_of
from profiler.estimate import estimate_models
from profiler.estimate.estimate import estimates_of
from profiler.estimate.export import to_objects
from profiler.estimate.overheads import Overheads, fit
from profiler.estimate.process import Estimator
from profiler.estimate.records import ContextSize, LevelSize, Question, Reply, Sizes
from profiler.estimate.table import DecodeLimit, Required, may_reach, render
from profiler.export.flat import FIELDS
from profiler.predict.speed import Load, Speeds
from profiler.records.span import Span
from quant.base.errors import UserError
from quant.convert.vocabulary_kinds import VOCABULARY_KEY, kind_of_shape
from quant.sources.registry import load_registry
from quant.sources.resolve import Source
from tests.support.cells import config as cell_config

MIB = 1 << 20
OVERHEADS = Overheads(base_bytes=MIB, per_layer_bytes=1000.0, per_word_bytes=10.0, per_merge_bytes=5.0)
LEVEL = LevelSize(
    level="Q4_0",
    n_params=8 * MIB,
    tensor_bytes=5 * MIB,
    data_bytes=5 * MIB + 32,
    types={"q4_0": 3, "f32": 2},
    plain_bytes=2 * MIB,
    mapped_bytes=3 * MIB,
    repacked_bytes=4 * MIB,
    largest_repacked_bytes=MIB,
    n_work_bytes_per_token=100,
)
CONTEXTS = tuple(
    ContextSize(
        n_outputs_max=n_outputs_max,
        compute_bytes=compute_bytes,
        output_bytes=MIB,
        kv_cache_bytes=7 * MIB,
        flash_attn=True,
    )
    for n_outputs_max, compute_bytes in ((1, 6 * MIB), (0, 60 * MIB))
)
SIZES = Sizes(
    arch="llama",
    n_layer=10,
    n_vocab=1000,
    vocabulary="gpt2",
    n_merges=400,
    header_bytes=500,
    weights="real",
    standin_for=None,
    standin_family=None,
    contexts=CONTEXTS,
    n_tokens=512,
    touched_bytes=5 * MIB,
    kv_formula_bytes=7 * MIB,
    levels=(LEVEL, LevelSize(level="NVFP4", refusal="no")),
)
CONFIGS = tuple(
    msgspec.structs.replace(cell_config(), n_ctx=2048, n_batch=2048, n_ubatch=512, n_outputs_max=n, load_mode="none")
    for n in (1, 0)
)
# 1 MiB, ten layers, a thousand words and 400 merges, and 512 rows of 100 bytes.
RUNTIME = MIB + 10_000 + 10_000 + 2000 + 51_200


def estimates(sizes=SIZES, load_modes=("mmap", "none")):
    return estimates_of("m-1b", sizes, CONFIGS, OVERHEADS, load_modes=load_modes)


def test_each_level_is_estimated_in_every_mode_and_output_but_one_that_cannot_be_made():
    assert [(e.level.level, e.config.load_mode, e.context.n_outputs_max) for e in estimates()] == [
        ("Q4_0", "mmap", 1),
        ("Q4_0", "mmap", 0),
        ("Q4_0", "none", 1),
        ("Q4_0", "none", 0),
    ]


def test_the_sum_counts_what_is_used_of_the_compute_buffer():
    for each in estimates(load_modes=("none",)):
        assert each.runtime_bytes == RUNTIME
        # Plain and repacked weights, cache, output, and five of six or sixty MiB of the compute buffer.
        assert each.model_rss_bytes == each.need_bytes == RUNTIME + (2 + 4 + 7 + 1 + 5) * MIB


def test_a_build_that_does_not_plan_a_smaller_batch_counts_the_whole_buffer_and_says_so():
    found = estimates(msgspec.structs.replace(SIZES, touched_bytes=None), load_modes=("none",))
    assert [each.model_rss_bytes - RUNTIME for each in found] == [(2 + 4 + 7 + 1 + n) * MIB for n in (6, 60)]
    notes = [line for line in render(found, Required(30 * MIB, "set by --fits")) if "in the sums" in line]
    assert len(notes) == 1
    assert notes[0].startswith("All of it")


def test_models_of_one_shape_are_asked_about_once(monkeypatch):
    asked = []

    def ask_all(questions, *, n_processes):
        asked.append([each.model for each in questions])
        refused = Reply(refusal="no")
        return iter([refused if each.config["n"] == 3 else Reply(sizes=SIZES) for each in questions])

    monkeypatch.setattr(estimate_models, "ask_all", ask_all)
    configs = {"a": {"n": 1, "eos_token_id": 2}, "b": {"n": 2}, "c": {"n": 3}, "a-it": {"n": 1, "eos_token_id": 5},
               "c-it": {"n": 3}}  # fmt: skip
    monkeypatch.setattr(
        estimate_models,
        "question_of",
        lambda source, request: Question(model=source, config=configs[source], levels="Q4_0", contexts=CONFIGS),
    )
    request = estimate_models.EstimateRequest(levels="Q4_0", configs=CONFIGS, load_modes=("none",))
    found = estimate_models.estimate_all(list(configs), request, lambda _: OVERHEADS, n_processes=2)
    assert asked == [["a", "b", "c"], ["c-it"]]  # what was refused is asked again: the reason may name the model
    assert [(each.model, len(each.estimates), each.skipped) for each in found] == [
        *(("a", 2, None), ("b", 2, None), ("c", 0, "no"), ("a-it", 2, None), ("c-it", 0, "no")),
    ]


@pytest.mark.parametrize(("name", "kind"), [("gemma-3-270m", "llama"), ("qwen3-0.6b", "gpt2"), ("openelm-3b", "llama"),
                                            ("phi-3.5-mini", "llama"), ("gemma-4-e2b", "gpt2")])  # fmt: skip
def test_the_registry_knows_the_kind_of_a_vocabulary(name, kind):
    spec = load_registry()[name]
    source = Source(kind="registry", text=name, spec=spec, repo=spec.repo, revision=None)
    request = estimate_models.EstimateRequest(levels="Q4_0", configs=CONFIGS, load_modes=("none",))
    assert kind_of_shape(estimate_models.question_of(source, request).config or {}) == kind


def test_a_vocabulary_of_an_unknown_kind_or_a_standin_is_bpe():
    assert kind_of_shape({VOCABULARY_KEY: ["llama"]}) == kind_of_shape({VOCABULARY_KEY: "new"}) == "gpt2"
    assert kind_of_shape(load_registry()["opt-125m"].shape()) == "gpt2"


def test_a_mapped_file_is_resident_from_its_first_tensor_in_use_to_the_last():
    each = estimates(load_modes=("mmap",))[0]
    assert each.model_rss_bytes == RUNTIME + (3 + 4 + 7 + 1 + 5) * MIB
    assert each.need_bytes == RUNTIME + (2 + 4 + 7 + 1 + 5) * MIB
    assert each.weights_bytes == 3 * MIB


def test_with_little_to_compute_the_peak_is_when_all_is_loaded():
    small = msgspec.structs.replace(CONTEXTS[0], output_bytes=10, kv_cache_bytes=90)
    sizes = msgspec.structs.replace(SIZES, contexts=(small, small), touched_bytes=100)
    mapped, read = estimates(sizes)[0], estimates(sizes)[2]
    assert mapped.model_rss_bytes == RUNTIME + 500 + 5 * MIB + 32 + 4 * MIB
    assert read.model_rss_bytes == RUNTIME + (2 + 4 + 1) * MIB


def test_a_shape_gets_a_header_of_usual_size():
    sizes = msgspec.structs.replace(SIZES, header_bytes=None)
    assert estimates(sizes)[0].file_bytes == 39 * 1000 + 5 * MIB + 32


def test_what_fits_is_what_is_needed():
    each = estimates()[0]
    assert each.fits(each.need_bytes)
    assert not each.fits(each.need_bytes - 1)
    assert each.bpw == 5.0


def test_the_table_shows_nothing_as_measured():
    lines = list(render(estimates(), Required(30 * MIB, "set by --fits")))
    assert lines[0].split() == [
        "model", "params", "level", "bpw", "file", "weights", "repacked", "KV", "compute[1]", "compute[all]",
        "runtime", "sum,", "mmap", "sum,", "read", "fits",
    ]  # fmt: skip
    assert lines[1].split() == [
        "m-1b", "8.4M", "Q4_0", "5.00", "~5.0", "~2.0", "~4.0", "~7.0", "~6.0", "~60.0",
        "~1.1", "~21.1", "~20.1", "yes",
    ]  # fmt: skip
    assert lines[3].startswith("Estimated (~) without weights, in MiB: n_ctx 2048")
    assert not [line for line in lines if line.startswith(("*", "+", "†", "‡"))]


def test_the_table_marks_levels_with_an_imatrix_and_stand_ins():
    level = msgspec.structs.replace(LEVEL, needs_imatrix=True, with_imatrix=True)
    sizes = msgspec.structs.replace(
        SIZES, levels=(level,), weights="synthetic", standin_for="m-1b", standin_family="opt", arch="gpt2"
    )
    text = "\n".join(render(estimates(sizes), Required(MIB, "here")))
    assert "m-1b† " in text
    assert "Q4_0* " in text
    assert text.splitlines()[1].endswith("  no")
    assert "†: llama.cpp cannot run it" in text
    assert "m-1b as gpt2." in text
    assert "‡" not in text


def test_bandwidth_over_the_weights_that_a_token_reads_limits_decode():
    level = msgspec.structs.replace(LEVEL, decode_weight_bytes=4_000_000)
    found = estimates(msgspec.structs.replace(SIZES, levels=(level,)))
    assert found[0].decode_tps_limit(1e9) == 250
    for asked, word in ((250.0, "yes"), (251.0, "slow"), (None, "yes")):
        lines = list(render(found, Required(30 * MIB, "here", asked), DecodeLimit(1e9, 2)))
        assert lines[0].split()[-2:] == ["decode", "fits"]
        assert "<~250" in lines[1].split()
        assert lines[1].split()[-1] == word
    assert "at the 1 GB/s" in "\n".join(lines)
    objects = to_objects(found, env_id="e", available_bytes=MIB, read_bytes_per_s=1e9)
    assert objects[0]["decode_tps_limit"] == 250


def test_json_has_the_fields_of_the_export_and_says_that_it_is_estimated():
    objects = to_objects(estimates(), env_id="e", available_bytes=MIB, read_bytes_per_s=None)
    first = objects[0]
    assert set(FIELDS) <= set(first)
    assert {each["kind"] for each in objects} == {"estimated"}
    assert (first["quant"], first["load_mode"], first["n_outputs_max"]) == ("Q4_0", "mmap", 1)
    assert first["compute_buffer_bytes"] == 6 * MIB
    assert first["kv_cache_bytes"] == 7 * MIB
    assert first["model_rss_bytes"] == RUNTIME + 20 * MIB
    assert first["fits"] is False
    assert first["decode_tps_limit"] is None
    assert [first[name] for name in ("decode_tps", "cell_key", "workload", "n_prompt", "imatrix")] == [None] * 5
    json.dumps(objects)


def test_overheads_are_the_slopes_between_the_tiny_files():
    # 32 layers and 65,536 words more than the small file's 2 and 1024, and merges for 66,560.
    wordy = 1_000_000 + 65_536 * 8
    found = fit(small=1_000_000, wordy=wordy, deep=1_000_000 + 32 * 500, merged=wordy + 66_560 * 3)
    base = 1_000_000 - 2 * 500 - 1024 * 8
    assert found == Overheads(base_bytes=base, per_layer_bytes=500.0, per_word_bytes=8.0, per_merge_bytes=3.0)
    small = msgspec.structs.replace(SIZES, n_layer=2, n_vocab=1024, n_merges=0)
    assert found.runtime_bytes(small) == 1_000_000


def test_noise_makes_no_negative_overheads():
    none = Overheads(base_bytes=100, per_layer_bytes=0.0, per_word_bytes=0.0, per_merge_bytes=0.0)
    assert fit(small=100, wordy=90, deep=80, merged=70) == none


def test_a_process_that_dies_costs_one_question():
    estimator = Estimator(module="quant.no_such_module")
    question = Question(model="m", levels="Q4_0", contexts=CONFIGS)
    for _ in range(2):
        failure = estimator.ask(question).failure
        assert failure is not None
        assert failure.kind == "worker"
        assert "no_such_module" in failure.message
    estimator.close()


def test_a_process_that_is_aborted_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Estimator(module="tests.support.scripted_estimator") as estimator:
        failure = estimator.ask(Question(model="m", levels="Q4_0", contexts=CONFIGS)).failure
    assert failure is not None
    assert (failure.kind, failure.signal) == ("abort", "SIGABRT")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--all"),
        (["gpt2", "--all"], "--all"),
        (["gpt2", "--max-params", "1B"], "--max-params"),
        (["gpt2", "-q", "Q9"], "there is no level 'Q9'"),
        (["no-such-model"], "no known model"),
        (["gpt2", "--fits", "many"], "'many' is not"),
    ],
)
def test_wrong_options_are_reported_before_anything_starts(words, message, monkeypatch):
    monkeypatch.setattr("profiler.device.environment.probe_backend", lambda: pytest.fail("began"))
    result = CliRunner().invoke(command, words)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


def test_the_log_s_caches_are_read_with_their_parts():
    log = Log()
    log.feed(
        "llama_kv_cache:        CPU KV buffer size =     0.00 MiB\n"
        "llama_kv_cache: size =    8.00 MiB (  2048 cells,   4 layers,  1/1 seqs), K (f16):    4.00 MiB, "
        "V (f16):    4.00 MiB\n"
        "llama_memory_recurrent: size =    3.00 MiB (     1 cells,  12 layers,  1 seqs  0 rs_seq), "
        "R (f32):    1.00 MiB, S (f32):    2.00 MiB, P (f32):    0.00 MiB\n"
    )
    found = caches_of(log.lines)
    assert [(each.n_cells, each.n_layers, each.n_bytes) for each in found] == [(2048, 4, 8 * MIB), (1, 12, 3 * MIB)]


def test_predicted_speeds_have_a_table_of_their_own_with_their_ranges() -> None:
    load = Load(n_prompt=128, n_gen=128, n_depth=0, is_request=True, n_threads=2, n_threads_batch=2)
    spans = [Span(value, value / 1.2, value * 1.2, "estimate") for value in (1500.0, 20.0, 85.0)]
    speeds = Speeds(load=load, prefill_tps=spans[0], decode_tps=spans[1], ttft_ms=spans[2])
    found = [msgspec.structs.replace(each, speeds=speeds) for each in estimates()]
    for least, word in ((None, "yes"), (16.0, "yes"), (20.0, "perhaps"), (25.0, "slow")):
        lines = list(render(found, Required(30 * MIB, "here", least)))
        assert lines[1].split()[-1] == word
        assert may_reach(found[0], least, None) == (word != "slow")
    text = "\n".join(lines)
    assert "~1,500 (1,250-1,800)" in text
    assert "~20 (16.7-24)" in text
    assert "decoded from depth 128 on" in text
    (row,) = to_objects(found[:1], env_id="e", available_bytes=1, read_bytes_per_s=None)
    assert [row[name] for name in ("mode", "workload", "n_prompt", "n_gen", "n_depth")] == [
        "request",
        "custom",
        128,
        128,
        0,
    ]
    assert (row["kind"], row["decode_tps"], row["decode_tps_lo"], row["ttft_ms_hi"]) == (
        "estimated",
        20.0,
        20 / 1.2,
        85 * 1.2,
    )
