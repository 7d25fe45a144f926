"""What each family asks a checkpoint for, what it fills in, and what it makes of the config."""

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from quant.base.errors import UserError
from quant.convert.families import find_family, planned_tensors
from quant.convert.families.base import as_number, rope_parameters
from quant.convert.families.planned import ByPart, Deinterleaved, From, Grouped, Interleaved
from quant.convert.tokenizer.tokens import Tokens
from quant.convert.tokenizer.vocabulary import Vocabulary

SHAPE: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 20,
}
CLASSES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")


def _completed(architecture: str, **changes: Any) -> dict[str, Any]:
    return find_family(architecture).complete({**SHAPE, **changes})


def _tensors(architecture: str, **changes: Any) -> dict[str, tuple[str, tuple[int, ...], int | None]]:
    """Return name -> (name in GGUF, shape, heads to permute) of what must be there."""
    family = find_family(architecture)
    planned = planned_tensors(family, family.complete({**SHAPE, **changes}))
    return {
        each.name: (each.target, each.shape, each.order.n_heads if isinstance(each.order, Interleaved) else None)
        for each in planned
        if not each.optional
    }


def _keys(architecture: str, **changes: Any) -> dict[str, Any]:
    """Write a config's keys to a file and read them with gguf's reader."""
    family = find_family(architecture)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        writer = gguf.GGUFWriter(path, family.arch)
        family.write_keys(writer, family.complete({**SHAPE, **changes}), 1)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        fields = gguf.GGUFReader(path).fields
        return {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}


def _refusal(call: Any) -> str:
    with pytest.raises(UserError) as error:
        call()
    said = str(error.value)
    assert said.isprintable()
    return said


# --- tensors


def _decoder_layer(layer: int, *, q_rows: int, kv_rows: int, permuted: bool) -> dict[str, Any]:
    source, target = f"model.layers.{layer}", f"blk.{layer}"
    return {
        f"{source}.self_attn.q_proj.weight": (f"{target}.attn_q.weight", (q_rows, 8), 4 if permuted else None),
        f"{source}.self_attn.k_proj.weight": (f"{target}.attn_k.weight", (kv_rows, 8), 2 if permuted else None),
        f"{source}.self_attn.v_proj.weight": (f"{target}.attn_v.weight", (kv_rows, 8), None),
        f"{source}.self_attn.o_proj.weight": (f"{target}.attn_output.weight", (8, q_rows), None),
        f"{source}.mlp.gate_proj.weight": (f"{target}.ffn_gate.weight", (12, 8), None),
        f"{source}.mlp.up_proj.weight": (f"{target}.ffn_up.weight", (12, 8), None),
        f"{source}.mlp.down_proj.weight": (f"{target}.ffn_down.weight", (8, 12), None),
        f"{source}.input_layernorm.weight": (f"{target}.attn_norm.weight", (8,), None),
        f"{source}.post_attention_layernorm.weight": (f"{target}.ffn_norm.weight", (8,), None),
    }


def _decoder(*, q_rows: int = 8, kv_rows: int = 4, permuted: bool = True) -> dict[str, Any]:
    return {
        "model.embed_tokens.weight": ("token_embd.weight", (20, 8), None),
        **_decoder_layer(0, q_rows=q_rows, kv_rows=kv_rows, permuted=permuted),
        **_decoder_layer(1, q_rows=q_rows, kv_rows=kv_rows, permuted=permuted),
        "model.norm.weight": ("output_norm.weight", (8,), None),
    }


OUTPUT = {"lm_head.weight": ("output.weight", (20, 8), None)}


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "MistralForCausalLM"])
def test_llama_and_mistral_have_the_same_tensors_with_permuted_heads(architecture):
    assert _tensors(architecture, tie_word_embeddings=True) == _decoder()
    assert _tensors(architecture, tie_word_embeddings=False) == _decoder() | OUTPUT


def test_qwen2_has_biases_on_query_key_and_value_and_keeps_their_order():
    biases = {}
    for layer in (0, 1):
        for name, target, rows in (("q_proj", "attn_q", 8), ("k_proj", "attn_k", 4), ("v_proj", "attn_v", 4)):
            biases[f"model.layers.{layer}.self_attn.{name}.bias"] = (f"blk.{layer}.{target}.bias", (rows,), None)
    expected = _decoder(permuted=False) | biases
    assert _tensors("Qwen2ForCausalLM", tie_word_embeddings=True) == expected
    assert _tensors("Qwen2ForCausalLM") == expected | OUTPUT


@pytest.mark.parametrize("architecture", CLASSES)
def test_a_tied_output_matrix_may_be_there_but_need_not(architecture):
    family = find_family(architecture)
    for tied in (True, False):
        config = family.complete({**SHAPE, "tie_word_embeddings": tied})
        assert [each.name for each in family.tensors(config) if each.optional] == (["lm_head.weight"] if tied else [])


def test_an_explicit_head_dim_sets_the_rows_of_query_key_and_value():
    assert _tensors("LlamaForCausalLM", head_dim=6, tie_word_embeddings=True) == _decoder(q_rows=24, kv_rows=12)
    assert _tensors("MistralForCausalLM", head_dim=6, tie_word_embeddings=True) == _decoder(q_rows=24, kv_rows=12)
    qwen2 = _tensors("Qwen2ForCausalLM", head_dim=6)
    assert qwen2["model.layers.0.self_attn.q_proj.bias"] == ("blk.0.attn_q.bias", (24,), None)
    assert qwen2["model.layers.0.self_attn.o_proj.weight"][1] == (8, 24)


def test_llamas_biases_follow_the_config():
    attention = _tensors("LlamaForCausalLM", attention_bias=True)
    added = {name: value for name, value in attention.items() if name.endswith(".bias") and ".0." in name}
    assert added == {
        "model.layers.0.self_attn.q_proj.bias": ("blk.0.attn_q.bias", (8,), 4),
        "model.layers.0.self_attn.k_proj.bias": ("blk.0.attn_k.bias", (4,), 2),
        "model.layers.0.self_attn.v_proj.bias": ("blk.0.attn_v.bias", (4,), None),
        "model.layers.0.self_attn.o_proj.bias": ("blk.0.attn_output.bias", (8,), None),
    }
    mlp = _tensors("LlamaForCausalLM", mlp_bias=True)
    added = {name: value for name, value in mlp.items() if name.endswith(".bias") and ".1." in name}
    assert added == {
        "model.layers.1.mlp.gate_proj.bias": ("blk.1.ffn_gate.bias", (12,), None),
        "model.layers.1.mlp.up_proj.bias": ("blk.1.ffn_up.bias", (12,), None),
        "model.layers.1.mlp.down_proj.bias": ("blk.1.ffn_down.bias", (8,), None),
    }


def test_every_target_is_a_name_that_ggufs_own_map_gives():
    for architecture, arch in (
        ("LlamaForCausalLM", gguf.MODEL_ARCH.LLAMA),
        ("MistralForCausalLM", gguf.MODEL_ARCH.LLAMA),
        ("Qwen2ForCausalLM", gguf.MODEL_ARCH.QWEN2),
    ):
        names = gguf.get_tensor_name_map(arch, 2)
        for name, (target, _, _) in _tensors(architecture).items():
            assert names.get_name(name, try_suffixes=(".weight", ".bias")) == target


def test_the_halves_of_each_head_are_interleaved():
    # Two heads of four: in each, the rows (0, 1) and (2, 3) are the halves.
    assert Interleaved(2).source_rows(0, 8, 8).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert Interleaved(1).source_rows(0, 6, 6).tolist() == [0, 3, 1, 4, 2, 5]
    assert Interleaved(2).source_rows(4, 8, 8).tolist() == [4, 6, 5, 7]
    assert Interleaved(2).unit(8) == 4


def test_alternating_halves_are_made_consecutive_and_the_rest_of_a_head_stays():
    assert Deinterleaved(6, 4).source_rows(0, 12, 12).tolist() == [0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11]
    assert Deinterleaved(6, 4).unit(12) == 6


def test_query_key_and_value_of_all_heads_are_put_together():
    # Two heads of two rows each: q q k k v v, q q k k v v.
    assert ByPart(2).source_rows(0, 12, 12).tolist() == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]
    assert ByPart(2).source_rows(4, 8, 12).tolist() == [2, 3, 8, 9]
    assert ByPart(2).unit(12) == 2


def test_groups_of_queries_with_their_key_and_value_are_taken_apart():
    # Two groups of two queries in heads of one row: q q k v, q q k v.
    assert Grouped(4, 2, 1).source_rows(0, 8, 8).tolist() == [0, 1, 4, 5, 2, 6, 3, 7]
    assert Grouped(4, 2, 2).source_rows(4, 10, 16).tolist() == [8, 9, 10, 11, 4, 5]
    assert Grouped(4, 2, 2).unit(16) == 2


def test_a_part_begins_at_its_first_row():
    assert From(10).source_rows(2, 5, 100).tolist() == [12, 13, 14]


# --- architectures


@pytest.mark.parametrize(
    ("architecture", "arch"),
    [("LlamaForCausalLM", "llama"), ("MistralForCausalLM", "llama"), ("Qwen2ForCausalLM", "qwen2")],
)
def test_a_family_names_its_architecture_in_gguf(architecture, arch):
    assert find_family(architecture).arch == arch


@pytest.mark.parametrize("name", ["GPT9ForCausalLM", "", "x" * 1000, "../llama", "quant.convert.families.llama"])
def test_an_unknown_architecture_is_named_with_the_converter_to_fetch(name):
    said = _refusal(lambda: find_family(name))
    assert said.startswith(f"the architecture {name[:100]} is not supported yet; ")
    pin = version("llama-cpp-python")
    assert f"llama-cpp-python=={pin}" in said
    assert said.endswith(f" --converter llama_cpp_python-{pin}/vendor/llama.cpp")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LlamaForCausalLm", "LlamaForCausalLM"),
        ("Qwen2ForCasualLM", "Qwen2ForCausalLM"),
        ("MistralForCausalLM2", "MistralForCausalLM"),
    ],
)
def test_a_misspelt_architecture_gets_a_hint(name, meant):
    assert f"{name} is not supported yet; did you mean {meant}? " in _refusal(lambda: find_family(name))


# --- defaults


@pytest.mark.parametrize(
    ("architecture", "filled"),
    [  # Source: the configuration classes of transformers 4.57
        (
            "LlamaForCausalLM",
            {"num_key_value_heads": 4, "head_dim": 2, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6},
        ),
        ("MistralForCausalLM", {"num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6}),
        ("Qwen2ForCausalLM", {"num_key_value_heads": 32, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6}),
    ],
)
@pytest.mark.parametrize("written", [{}, {"max_position_embeddings": None, "rms_norm_eps": None, "rope_theta": None}])
def test_what_a_config_leaves_out_or_null_is_filled_in(architecture, filled, written):
    config = {key: value for key, value in SHAPE.items() if key != "num_key_value_heads"} | written
    kept = dict(config)
    completed = find_family(architecture).complete(config)
    assert completed == {**config, **filled, "rope_theta": 10000.0}
    assert config == kept  # the caller's own is left alone


@pytest.mark.parametrize("architecture", CLASSES)
def test_explicit_settings_are_kept(architecture):
    said = {"head_dim": 6, "max_position_embeddings": 77, "rms_norm_eps": 0.5, "rope_theta": 3, "other": [1]}
    assert _completed(architecture, **said) == {**SHAPE, **said}


@pytest.mark.parametrize("architecture", CLASSES)
@pytest.mark.parametrize("key", [key for key in SHAPE if key != "num_key_value_heads"])
@pytest.mark.parametrize("value", [None, 0, -1, 1.5, "8", True, 1 << 31, [8]])
def test_a_count_that_is_no_positive_number_is_named(architecture, key, value):
    assert f"config.json has {key} = {value!r}, which must be a positive number" in _refusal(
        lambda: _tensors(architecture, **{key: value})
    )


def test_more_layers_than_llama_cpp_takes_are_not_walked():
    said = _refusal(lambda: _tensors("LlamaForCausalLM", num_hidden_layers=2_000_000_000))
    assert said == "config.json has num_hidden_layers = 2000000000; llama.cpp takes 512 at most"
    assert len(_tensors("LlamaForCausalLM", num_hidden_layers=512)) == 3 + 9 * 512


@pytest.mark.parametrize("changes", [{"head_dim": 3}, {"hidden_size": 12}])
def test_a_head_without_two_halves_is_refused(changes):
    said = _refusal(lambda: _tensors("LlamaForCausalLM", **changes))
    assert said == "config.json asks for attention heads of 3 values, which must be an even number"


# --- keys


def test_llamas_keys():
    keys = _keys("LlamaForCausalLM", max_position_embeddings=512, rms_norm_eps=0.5, rope_theta=5000)
    assert keys == {
        "general.architecture": "llama",
        "general.file_type": 1,
        "llama.block_count": 2,
        "llama.context_length": 512,
        "llama.embedding_length": 8,
        "llama.feed_forward_length": 12,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 2,
        "llama.attention.value_length": 2,
        "llama.attention.layer_norm_rms_epsilon": 0.5,
        "llama.rope.freq_base": 5000.0,
        "llama.rope.dimension_count": 2,
        "llama.vocab_size": 20,
    }


def test_qwen2s_keys():
    keys = _keys("Qwen2ForCausalLM", max_position_embeddings=512, rms_norm_eps=0.5, sliding_window=4096)
    assert keys == {
        "general.architecture": "qwen2",
        "general.file_type": 1,
        "qwen2.block_count": 2,
        "qwen2.context_length": 512,
        "qwen2.embedding_length": 8,
        "qwen2.feed_forward_length": 12,
        "qwen2.attention.head_count": 4,
        "qwen2.attention.head_count_kv": 2,
        "qwen2.attention.layer_norm_rms_epsilon": 0.5,
        "qwen2.rope.freq_base": 10000.0,
    }


@pytest.mark.parametrize("key", ["rms_norm_eps", "rope_theta"])
@pytest.mark.parametrize("value", ["1e-5", True, [1], float("nan"), float("inf"), 1e300, 10**400])
def test_a_setting_that_float32_does_not_hold_is_named(key, value):
    said = _refusal(lambda: _keys("LlamaForCausalLM", **{key: value}))
    assert said.startswith(f"config.json has {key} = ")
    assert said.endswith(", which must be a number")
    assert len(said) < 200


def test_whole_numbers_and_fractions_are_numbers():
    assert (as_number(5, "x"), as_number(-0.5, "x"), as_number(0, "x")) == (5, -0.5, 0)


# --- rope

LLAMA3 = {
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"factor": 4.0, "original_max_position_embeddings": 32768}


@pytest.mark.parametrize(
    ("config", "rope"),
    [
        ({}, {}),
        ({"rope_scaling": None}, {}),
        ({"rope_theta": 5000.0}, {"rope_theta": 5000.0}),
        # transformers 4: the base beside the scaling, whose kind is "type" in the oldest files
        (
            {"rope_theta": 5000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
            {"type": "linear", "rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0},
        ),
        (
            {"rope_theta": 5000.0, "rope_scaling": {"rope_type": "linear", "type": "old", "factor": 2.0}},
            {"type": "old", "rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0},
        ),
        # transformers 5: everything in rope_parameters, and that counts
        (
            {"rope_theta": 1.0, "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
            {"rope_type": "default", "rope_theta": 5000.0},
        ),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0}, "rope_scaling": {"factor": 9.0}},
            {"rope_type": "linear", "factor": 2.0},
        ),
        ({"rope_parameters": None, "rope_scaling": {"rope_type": "yarn"}}, {"rope_type": "yarn"}),
        (
            {"original_max_position_embeddings": 64, "rope_scaling": {"rope_type": "yarn"}},
            {"rope_type": "yarn", "original_max_position_embeddings": 64},
        ),
    ],
)
def test_both_spellings_of_the_rope_settings_are_one(config, rope):
    assert rope_parameters(config) == rope


@pytest.mark.parametrize("architecture", CLASSES)
@pytest.mark.parametrize(
    "spelling",
    [
        lambda rope: {"rope_theta": 5000.0, "rope_scaling": rope},
        lambda rope: {"rope_parameters": {**rope, "rope_theta": 5000.0}},
    ],
    ids=["transformers-4", "transformers-5"],
)
def test_a_scaling_becomes_keys_in_both_spellings(architecture, spelling):
    arch = find_family(architecture).arch
    plain = _keys(architecture, rope_theta=5000.0)

    linear = _keys(architecture, **spelling({"rope_type": "linear", "factor": 2.0}))
    assert linear.items() - plain.items() == {
        (f"{arch}.rope.scaling.type", "linear"),
        (f"{arch}.rope.scaling.factor", 2.0),
    }

    yarn = _keys(architecture, **spelling({"rope_type": "yarn", **YARN, "beta_fast": 16.0, "attn_factor": 0.5}))
    assert yarn.items() - plain.items() == {
        (f"{arch}.rope.scaling.type", "yarn"),
        (f"{arch}.rope.scaling.factor", 4.0),
        (f"{arch}.rope.scaling.original_context_length", 32768),
        (f"{arch}.rope.scaling.yarn_beta_fast", 16.0),
        (f"{arch}.rope.scaling.yarn_attn_factor", 0.5),
    }
    # Llama 3's is a tensor; the dynamic one begins beyond the trained length, which a file's context is.
    for kind in ("default", "dynamic", "llama3"):
        assert _keys(architecture, **spelling({"rope_type": kind, **LLAMA3})) == plain


@pytest.mark.parametrize("architecture", CLASSES)
@pytest.mark.parametrize("kind", ["longrope", "su", "ntk", "Linear", "", 3, ["yarn"]])
def test_a_scaling_that_would_be_left_out_is_refused(architecture, kind):
    said = _refusal(lambda: _keys(architecture, rope_scaling={"rope_type": kind, "factor": 2.0}))
    assert said == f"config.json asks for the rope scaling '{kind}', which is not supported for this family"


@pytest.mark.parametrize(
    ("rope", "words"),
    [
        ("yarn", "rope settings that are no object"),
        ([1], "rope settings that are no object"),
        ({"rope_type": "linear"}, "factor = None, which must be a number"),
        ({"rope_type": "yarn"}, "factor = None, which must be a number"),
        ({"rope_type": "linear", "factor": "2"}, "factor = 2, which must be a number"),
        ({"rope_type": "yarn", "factor": 4.0}, "original_max_position_embeddings = None"),
        ({"rope_type": "yarn", **YARN, "beta_fast": "x"}, "beta_fast = x, which must be a number"),
    ],
)
def test_a_broken_scaling_is_named(rope, words):
    assert words in _refusal(lambda: _keys("Qwen2ForCausalLM", rope_scaling=rope))


def _factors(**changes: Any) -> np.ndarray:
    family = find_family("LlamaForCausalLM")
    extra = family.extra_tensors(family.complete({**SHAPE, **changes}))
    assert list(extra) == ["rope_freqs.weight"]
    assert extra["rope_freqs.weight"].dtype == np.float32
    return extra["rope_freqs.weight"]


def test_llama_3s_factors_are_those_computed_by_hand():
    # The frequencies of head_dim 8 at base 500000 have wavelengths 6.28, 167.1, 4442.9 and 118142.8. Under 8192 / 4
    # nothing changes, above 8192 / 1 it is slowed by the whole factor. For the third:
    # s = (8192 / 4442.883 - 1) / (4 - 1) = 0.281282, and 1 / ((1 - s) / 32 + s) = 3.292262.
    factors = _factors(head_dim=8, rope_theta=500000.0, rope_scaling={"rope_type": "llama3", **LLAMA3})
    assert factors.tolist() == pytest.approx([1.0, 1.0, 3.292262, 32.0], rel=1e-6)
    # The same with factor 8 and head_dim 16; the wavelength of place 8 is the 4442.9 of above.
    factors = _factors(head_dim=16, rope_parameters={"rope_type": "llama3", **LLAMA3, "factor": 8, "rope_theta": 5e5})
    assert factors.tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0, 2.694530, 8.0, 8.0, 8.0], rel=1e-6)


def test_llama_3s_scaling_has_defaults():
    # Base 10000: the wavelength of place 6 is 6283.185; s = 0.101266, 1 / ((1 - s) / 8 + s) = 4.681483.
    factors = _factors(head_dim=8, rope_scaling={"type": "llama3"})
    assert factors.tolist() == pytest.approx([1.0, 1.0, 1.0, 4.681483], rel=1e-6)


@pytest.mark.parametrize("rope", [None, {}, {"rope_type": "default"}, {"rope_type": "linear", "factor": 2.0}])
def test_no_other_scaling_has_factors(rope):
    for architecture in CLASSES:
        family = find_family(architecture)
        assert family.extra_tensors(family.complete({**SHAPE, "rope_scaling": rope})) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"factor": "32"}, "factor = 32, which must be a number"),
        ({"factor": None}, "factor = None, which must be a number"),
        ({"factor": 0}, "factor = 0.0, which must be a positive number"),
        ({"low_freq_factor": -1}, "low_freq_factor = -1.0, which must be a positive number"),
        ({"high_freq_factor": 1.0}, "low_freq_factor = 1.0, which must be less than high_freq_factor = 1.0"),
        ({"original_max_position_embeddings": "8192"}, "original_max_position_embeddings = 8192, which must be"),
        ({"rope_theta": []}, "rope_theta = [], which must be a number"),
    ],
)
def test_a_broken_llama_3_scaling_is_named(changes, words):
    assert words in _refusal(lambda: _factors(rope_scaling={"rope_type": "llama3", **LLAMA3, **changes}))


# --- the vocabulary


@pytest.mark.parametrize(
    ("architecture", "size", "adds_bos", "said"),
    [
        ("LlamaForCausalLM", 49152, False, [("tokenizer.ggml.add_bos_token", False)]),
        ("MistralForCausalLM", 49152, False, [("tokenizer.ggml.add_bos_token", False)]),
        ("LlamaForCausalLM", 49152, True, []),  # a checkpoint that transformers 4 made from SmolLM2's GGUF file
        ("MistralForCausalLM", 49152, True, []),
        ("LlamaForCausalLM", 32000, False, []),
        ("Qwen2ForCausalLM", 49152, False, []),
    ],
)
def test_one_size_of_llamas_vocabularies_disables_bos_unless_the_tokenizer_adds_it(
    tmp_path: Path, architecture: str, size: int, adds_bos: bool, said: list[tuple[str, bool]]
) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    vocabulary = Vocabulary(
        model="gpt2", pre="gpt-2", tokens=Tokens.padded(0), special=gguf.SpecialVocab(tmp_path), adds_bos=adds_bos
    )
    find_family(architecture).vocabulary_keys(writer, {**SHAPE, "vocab_size": size}, vocabulary)
    added = {key: value.value for key, value in writer.kv_data[0].items() if key.startswith("tokenizer.")}
    assert list(added.items()) == said
