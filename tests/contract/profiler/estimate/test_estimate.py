"""Estimates against files that llama.cpp really quantized, and against what it logs when it opens them."""

import json

import msgspec
import pytest

from profiler.engine import ggml
from profiler.estimate.process import Estimator
from profiler.estimate.records import Question
from profiler.estimate.touched import touched_bytes
from profiler.records.round import Buffers
from quant.base.child import Child
from quant.convert.layout import layout_of_shape
from quant.convert.sparse_gguf import write_sparse_at
from quant.convert.tokenizer.synthetic import synthetic_vocabulary
from quant.convert.vocabulary_kinds import KINDS
from quant.gguf_io.artifact import artifact_of
from quant.gguf_io.header import open_gguf_header
from quant.gguf_io.levels import LEVEL_BY_NAME
from quant.quantize.llama_worker import Job
from tests.benchmarks.memory import config_of
from tests.support.quantizing_worker import Request

SIZES = {"vocab_size": 768, "num_hidden_layers": 3, "hidden_size": 256, "intermediate_size": 512,
         "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
SHAPES = {
    "llama": {**SIZES, "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False},
    "qwen2": {**SIZES, "architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": True, "hidden_size": 192},
    "gemma2": {**SIZES, "architectures": ["Gemma2ForCausalLM"], "head_dim": 64, "sliding_window": 64},
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "n_embd": 256, "n_layer": 2, "n_head": 4, "vocab_size": 768,
             "n_positions": 512},
    "falcon-h1": {**SIZES, "architectures": ["FalconH1ForCausalLM"], "mamba_d_ssm": 512, "mamba_n_heads": 8,
                  "mamba_d_state": 64},
    "lfm2": {**SIZES, "architectures": ["Lfm2ForCausalLM"], "layer_types": ["conv", "full_attention", "conv"],
             "block_auto_adjust_ff_dim": False},
}  # fmt: skip
OTHER = {
    "llama": "Q4_K_M",
    "qwen2": "IQ3_S",
    "gemma2": "Q6_K",
    "gpt2": "Q2_K",
    "falcon-h1": "Q5_K_M",
    "lfm2": "Q3_K_M",
}  # beside Q4_0, which is repacked
N_CTX = 300


@pytest.fixture(scope="module")
def estimator():
    estimator = Estimator()
    yield estimator
    estimator.close()


@pytest.fixture(scope="module")
def quantizer():
    with Child("tests.support.quantizing_worker") as child:
        yield child


def question(shape, levels="Q4_0", n_ctx=N_CTX):
    contexts = tuple(config_of(False, True, n, n_prompt=32, n_ctx=n_ctx, n_threads=1) for n in (1, 0))
    return Question(model="m-1b", config=shape, levels=levels, contexts=contexts)


@pytest.mark.parametrize("name", SHAPES)
def test_bytes_and_buffers_are_those_of_the_quantized_file(tmp_path, estimator, quantizer, name):
    levels = ["Q4_0", OTHER[name]]
    sizes = estimator.ask(question(SHAPES[name], ",".join(levels))).sizes
    layout = layout_of_shape(SHAPES[name], standin_for="m-1b")
    source = tmp_path / "m-F16.gguf"
    write_sparse_at(layout, source, layout.keys, layout.types_at("F16"), 1)

    files = [tmp_path / f"m-{level}.gguf" for level in levels]
    jobs = tuple(
        Job(source=str(source), ftypes=(LEVEL_BY_NAME[level].ftype,), out=str(file))
        for level, file in zip(levels, files, strict=True)
    )
    with quantizer.time_limit(60):
        quantizer.send(Request(jobs=jobs, config=question({}).contexts[0]))
        buffers, context = msgspec.json.decode(quantizer.receive(), type=Buffers), sizes.contexts[0]

    for level, file in zip(sizes.levels, files, strict=True):
        facts = artifact_of(open_gguf_header(file), "")
        assert (facts.level, facts.tensor_bytes, facts.tensor_types) == (level.level, level.tensor_bytes, level.types)
    step = 10486  # the log has hundredths of a MiB
    assert buffers.repacked_bytes == pytest.approx(sizes.levels[0].repacked_bytes, abs=step)
    assert buffers.weights_bytes == pytest.approx(sizes.levels[0].plain_bytes, abs=step)
    assert buffers.kv_cache_bytes == pytest.approx(context.kv_cache_bytes, abs=step)
    assert buffers.compute_bytes == pytest.approx(context.compute_bytes, abs=step)
    assert context.kv_cache_bytes == sizes.kv_formula_bytes


@pytest.mark.parametrize("name", SHAPES)
def test_a_short_prompt_uses_a_part_of_the_compute_buffer(estimator, name):
    def used(n_prompt):
        asked = question(SHAPES[name])
        contexts = tuple(msgspec.structs.replace(each, n_prompt=n_prompt) for each in asked.contexts)
        return estimator.ask(msgspec.structs.replace(asked, contexts=contexts)).sizes

    page = 4096
    whole, short = used(0), used(16)
    assert (whole.n_tokens, short.n_tokens) == (N_CTX, 16)
    assert short.touched_bytes < whole.touched_bytes / 4
    assert whole.touched_bytes <= whole.contexts[0].compute_bytes + page


def test_a_build_that_hides_the_function_plans_no_smaller_batch(monkeypatch):
    monkeypatch.setattr(ggml, "_GRAPH_RESERVE", "no_such_function")
    ggml._graph_reserve.cache_clear()
    try:
        assert touched_bytes(0, n_largest=512, n_outputs=1, n_tokens=16) is None
    finally:
        ggml._graph_reserve.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_llama_loads_a_vocabulary_of_every_kind(tmp_path, estimator, kind):
    layout, path = layout_of_shape(SHAPES["llama"], standin_for="m-1b"), tmp_path / "m.gguf"
    keys = layout.keys_with(synthetic_vocabulary(SIZES["vocab_size"], "llama", kind))
    write_sparse_at(layout, path, keys, layout.types_at("F16"), 1)
    asked = msgspec.structs.replace(question(None, levels=None), path=str(path))
    sizes = estimator.ask(asked).sizes
    assert (sizes.vocabulary, sizes.n_vocab) == (kind, SIZES["vocab_size"])


def test_a_level_that_needs_an_imatrix_is_given_with_one(estimator):
    needy, same, plain = estimator.ask(question(SHAPES["llama"], "IQ2_XXS,Q2_K_S,Q8_0")).sizes.levels
    assert (needy.needs_imatrix, needy.with_imatrix, "iq2_xxs" in needy.types) == (True, True, True)
    assert (same.needs_imatrix, same.with_imatrix, "q2_K" in same.types) == (True, True, True)
    assert (plain.needs_imatrix, plain.with_imatrix) == (False, False)
    always = msgspec.structs.replace(question(SHAPES["llama"], "Q2_K_S,Q4_0"), always_imatrix=True)
    same_again, mixed = estimator.ask(always).sizes.levels
    assert same_again.types == same.types
    assert mixed.with_imatrix


@pytest.mark.parametrize(
    "changed",
    [
        {"num_hidden_layers": 10**9},
        {"hidden_size": None},
        {"num_attention_heads": 3},
        {"vocab_size": 10**12},
        {"architectures": ["NoSuchModel"]},
    ],
)
def test_a_hostile_config_is_refused_in_one_line(estimator, changed):
    reply = estimator.ask(question({**SHAPES["llama"], **changed}))
    assert reply.sizes is None
    assert reply.failure is None
    assert len(reply.refusal.splitlines()) == 1


def test_the_command_writes_json_of_a_config(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from profiler.cli.estimate import estimate

    (tmp_path / "config.json").write_text(json.dumps(SHAPES["llama"]))
    result = CliRunner().invoke(estimate, [str(tmp_path / "config.json"), "-q", "Q8_0", "--json"])
    assert result.exception is None
    objects = json.loads(result.stdout)
    assert [(each["quant"], each["load_mode"], each["n_outputs_max"]) for each in objects] == [
        ("Q8_0", "mmap", 1),
        ("Q8_0", "mmap", 0),
        ("Q8_0", "none", 1),
        ("Q8_0", "none", 0),
    ]
    assert {each["kind"] for each in objects} == {"estimated"}
    assert all(each["model_rss_bytes"] > 0 for each in objects)
