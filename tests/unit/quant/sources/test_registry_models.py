"""Every model of the registry: the survey's table, shapes that are counted again, stand-ins, and filters."""

import csv
import tomllib
from typing import Any

import pytest

from quant.base.errors import UserError
from quant.convert.families import complete_config, find_family, planned_tensors
from quant.sources.registry import ModelSpec, load_registry, lookup, matching
from tests.support.checkpoints import n_params_active_of, n_params_of
from tests.support.paths import DATA, ROOT
from tests.support.registry import find

with (DATA / "slm59.csv").open(encoding="utf-8") as _file:
    SURVEY = {row["name"]: row for row in csv.DictReader(_file)}
SPECS = list(load_registry().values())
UNSUPPORTED = [spec for spec in SPECS if not spec.supported]
STANDINS = [spec for spec in SPECS if spec.standin is not None]
NORM_KEYS = {"layer_norm_eps", "layer_norm_epsilon"}
BY_CLASS: dict[str, dict[str, Any]] = {  # the defaults of classes
    "OPTForCausalLM": {"norm": "LayerNorm", "tied": True},
    "BloomForCausalLM": {"activation": "gelu_tanh", "tied": True},
    "GPT2LMHeadModel": {"tied": True},
    "QWenLMHeadModel": {"activation": "silu", "norm": "RMSNorm"},
    "GemmaForCausalLM": {"tied": True, "activation": "gelu_tanh"},
    "Gemma2ForCausalLM": {"tied": True},
    "RecurrentGemmaForCausalLM": {"tied": True, "context": 8192},
    "OpenELMForCausalLM": {"norm": "RMSNorm"},
    "OlmoForCausalLM": {"norm": "LayerNorm(non-parametric)"},
    "OpenLMModel": {"activation": "silu", "norm": "LayerNorm", "ffn": 5632},
}
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu"}


def first(config: dict[str, Any], *keys: str) -> Any:
    return next((config[key] for key in keys if key in config), None)


def span(values: list[int]) -> str:
    return f"{min(values)}-{max(values)}"


def openelm_widths(config: dict[str, Any]) -> list[int]:
    """Source: make_divisible of the repositories' configuration_openelm.py."""
    wanted = [factor * config["model_dim"] for factor in config["ffn_multipliers"]]
    near = [max(256, int(width + 128) // 256 * 256) for width in wanted]
    return [got + 256 if got < 0.9 * width else got for got, width in zip(near, wanted, strict=True)]


def row_of(spec: ModelSpec) -> dict[str, str]:
    """Write a model's config as the survey's table has it."""
    config, usual = spec.config, BY_CLASS.get(spec.architecture, {})
    width = first(config, "hidden_size", "n_embd", "model_dim", "hidden_dim")
    heads = first(config, "num_attention_heads", "n_head", "num_query_heads", "n_heads")
    ffn = first(config, "intermediate_size", "ffn_dim", "n_inner") or usual.get("ffn") or 4 * width
    if spec.architecture in ("QWenLMHeadModel", "RecurrentGemmaForCausalLM"):
        ffn //= 2  # gate and up are counted together
    if spec.architecture == "OpenELMForCausalLM":
        ffn, heads = span(openelm_widths(config)), span(heads)
    kv_heads = first(config, "num_key_value_heads", "num_kv_heads") or heads
    if "q_lora_rank" in config:
        head_dim = config["qk_nope_head_dim"] + config["qk_rope_head_dim"]
    else:
        head_dim = first(config, "head_dim", "kv_channels") or width // heads
    activation = first(config, "hidden_act", "hidden_activation", "activation_function", "activation_fn_name")
    norm = "LayerNorm" if NORM_KEYS & set(config) else "RMSNorm"
    if spec.architecture == "QWenLMHeadModel":
        norm = "RMSNorm"
    tied = first(config, "tie_word_embeddings", "share_input_output_layers", "weight_tying") or usual.get("tied", False)
    return {
        "hf_repo": spec.repo,
        "released": spec.released or "",
        "layers": str(first(config, "num_hidden_layers", "n_layer", "num_transformer_layers", "n_layers")),
        "hidden": str(width),
        "heads": str(heads),
        "kv_heads": span(kv_heads) if isinstance(kv_heads, list) else str(kv_heads),
        "head_dim": str(head_dim),
        "ffn": str(ffn),
        "vocab": str(config["vocab_size"]),
        "max_ctx": str(
            first(config, "max_position_embeddings", "n_positions", "seq_length", "max_context_length", "seq_len")
            or usual["context"]
        ),
        "activation": usual.get("activation") or ACTIVATIONS.get(activation, activation),
        "norm": usual.get("norm") or norm,
        "tied_embeddings": str(tied),
    }


def test_the_survey_s_59_models_are_there_under_its_names_and_others() -> None:
    assert {spec.survey for spec in SPECS if spec.survey} == set(SURVEY)
    assert len(SURVEY) == 59
    assert sum(spec.survey is None for spec in SPECS) == 157
    assert all(lookup(name) is find(name) and find(name).survey == name for name in SURVEY)


@pytest.mark.parametrize("name", SURVEY)
def test_an_entry_is_the_survey_s_row_field_by_field(name: str) -> None:
    found, row = row_of(find(name)), SURVEY[name]
    assert found == {key: row[key] for key in found}
    assert abs(find(name).n_params / 1e6 - float(row["params_m"])) < 0.8  # the table rounds, some from memory
    assert find(name).supported is (row["llama_cpp_arch"] != "unsupported")


def test_a_shape_from_the_survey_alone_is_marked_in_the_survey_s_words() -> None:
    alone = [spec for spec in SPECS if spec.survey and (spec.source or "").startswith("survey, ")]
    assert len(alone) > 20
    said = {spec.survey: (spec.source or "").removeprefix("survey, ").split(";")[0] for spec in alone}
    assert said == {name: SURVEY[name or ""]["source"] for name in said}


def test_every_model_has_a_source_and_a_release_date() -> None:
    assert all(spec.source for spec in SPECS)
    assert all(spec.released and spec.released[4] == "-" and len(spec.released) == 7 for spec in SPECS)
    commits = [spec.revision for spec in SPECS if spec.revision]
    assert len(commits) == len(set(commits)) >= 25
    assert all(len(commit) == 40 and int(commit, 16) for commit in commits)


def test_the_index_names_every_file_and_no_model_is_in_two() -> None:
    index = tomllib.loads((ROOT / "models.toml").read_text(encoding="utf-8"))
    paths = sorted((ROOT / "models.d").iterdir())
    assert sorted(f"{name}.toml" for name in index["files"]) == [path.name for path in paths]
    found = [name for path in paths for name in tomllib.loads(path.read_text(encoding="utf-8"))]
    assert len(found) == len(set(found)) == len(SPECS)


def counted(spec: ModelSpec) -> int:
    """Count an architecture that no family here converts."""
    c = spec.config
    if spec.architecture == "OPTForCausalLM":
        h, ffn, narrow = c["hidden_size"], c["ffn_dim"], c["word_embed_proj_dim"]
        layer = 4 * h * h + 4 * h + 2 * h * ffn + ffn + h + 4 * h  # attention, feed-forward, two norms
        between = 2 * narrow * h if narrow != h else 0
        last_norm = 2 * h if c["do_layer_norm_before"] else 0
        ends = c["vocab_size"] * narrow + (c["max_position_embeddings"] + 2) * h + between + last_norm
        return ends + c["num_hidden_layers"] * layer
    if spec.family == "mobillama":
        h, ffn, layers = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"]
        parts = 1 if spec.survey == "MobiLlama-0.5B" else layers  # of the feed-forward kind
        return 2 * c["vocab_size"] * h + layers * (4 * h * h + 2 * h) + parts * 3 * h * ffn + h
    if spec.architecture == "OpenLMModel":
        h, ffn = c["hidden_dim"], 5632
        return 2 * c["vocab_size"] * h + c["n_layers"] * (4 * h * h + 3 * h * ffn + 4 * h) + h
    if spec.family == "bitnet":
        h, ffn, kv_width = c["hidden_size"], c["intermediate_size"], 128 * c["num_key_value_heads"]
        norms = 3 * h + ffn
        return c["vocab_size"] * h + c["num_hidden_layers"] * (2 * h * h + 2 * h * kv_width + 3 * h * ffn + norms) + h
    assert spec.architecture == "RecurrentGemmaForCausalLM"
    h, ffn, lru, heads, size = c["hidden_size"], c["intermediate_size"] // 2, c["lru_width"], 10, c["head_dim"]
    block = lru // heads
    mlp = 3 * h * ffn + 2 * ffn + h
    gates = 2 * (heads * block * block + lru) + lru
    recurrent = 3 * h * lru + 2 * lru + h + c["conv1d_width"] * lru + lru + gates
    attention = 2 * h * heads * size + 2 * h * size + h
    kinds = [c["block_types"][layer % 3] for layer in range(c["num_hidden_layers"])]
    mixing = sum(recurrent if kind == "recurrent" else attention for kind in kinds)
    return c["vocab_size"] * h + mixing + len(kinds) * (mlp + 2 * h) + h


def shapes() -> dict[str, tuple[str, dict[str, Any], dict[str, int]]]:
    """Return each shape once: an architecture, its config, and the counts by the models that have it."""
    found: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {}
    given = [(spec.name, spec.architecture, spec.config, spec.n_params) for spec in SPECS if spec.supported]
    for spec in STANDINS:
        assert spec.standin is not None
        given.append((f"{spec.name}'s", spec.standin.architecture, spec.standin.config, spec.standin.n_params))
    for name, architecture, config, count in given:
        sizes = {key: value for key, value in config.items() if key not in ("bos_token_id", "eos_token_id")}
        found.setdefault(str((architecture, sizes)), (architecture, config, {}))[2][name] = count
    return found


@pytest.mark.parametrize("shape", shapes().values(), ids=lambda shape: next(iter(shape[2])))
def test_the_count_is_what_the_shape_gives(shape: tuple[str, dict[str, Any], dict[str, int]]) -> None:
    architecture, config, counts = shape
    assert set(counts.values()) == {n_params_of(architecture, config)}
    family = find_family(architecture)
    planned = planned_tensors(family, complete_config(family, config))
    assert sum(each.n_elements for each in planned if not each.optional) in counts.values()
    assert len({each.target for each in planned}) == len(planned)
    with_experts = any("_exps." in each.target for each in planned)
    specs = [spec for spec in map(lookup, counts) if spec is not None]
    assert all((spec.n_params_active is not None) is with_experts for spec in specs if spec.name in counts)


def test_a_token_uses_a_part_of_the_experts() -> None:
    for spec in SPECS:
        if spec.n_params_active:
            assert spec.n_params_active == n_params_active_of(spec.architecture, spec.config), spec.name
            assert spec.n_params_active < spec.n_params


@pytest.mark.parametrize("spec", UNSUPPORTED, ids=lambda spec: spec.name)
def test_the_count_of_what_llama_cpp_lacks_is_what_the_shape_gives(spec: ModelSpec) -> None:
    assert counted(spec) == spec.n_params


def test_all_are_small_and_every_supported_config_is_one_that_its_family_takes() -> None:
    assert all(spec.n_params < (16e9 if spec.n_params_active else 8.9e9) for spec in SPECS)
    for spec in SPECS:
        if spec.supported:
            complete_config(find_family(spec.architecture), spec.config)
        elif spec.family != "mobillama":  # whose repositories name Llama's class and bring code of their own
            with pytest.raises(UserError, match=r"not supported yet|does not compute"):
                complete_config(find_family(spec.architecture), spec.config)


def test_a_stand_in_has_the_model_s_size_but_for_shared_weights() -> None:
    more = {spec.name: round(100 * (spec.standin.n_params / spec.n_params - 1), 2) for spec in STANDINS if spec.standin}
    assert more == {
        "opt-125m": 0.0,
        "opt-350m": -0.32,
        "opt-1.3b": 0.0,
        "opt-2.7b": 0.0,
        "galactica-125m": 0.0,
        "galactica-1.3b": 0.0,
        "mobillama-0.5b": 135.86,
        "mobillama-1b": 0.0,
        "dclm-1b": 0.0,
        "bitnet-b1.58-2b-4t": 0.0,
    }
    assert {spec.name for spec in UNSUPPORTED} - set(more) == {"recurrentgemma-2b"}


def test_a_stand_in_s_shape_is_another_family_s_and_names_the_model_it_replaces() -> None:
    spec = find("opt-125m")
    assert (spec.family, spec.runs_as, spec.supported) == ("opt", "as gpt2", False)
    shape = spec.shape()
    assert (shape["architectures"], shape["model_type"]) == (["GPT2LMHeadModel"], "gpt2")
    assert shape["slmprof_standin_family"] == "opt"
    assert (shape["n_embd"], shape["n_layer"], shape["vocab_size"]) == (768, 12, 50272)
    own = find("smollm2-135m")
    assert (own.runs_as, own.shape()) == ("itself", own.config)


def test_what_cannot_be_profiled_is_refused_before_anything_is_downloaded() -> None:
    find("smollm2-135m").require_supported()
    with pytest.raises(UserError, match=r"opt-125m cannot be converted: llama\.cpp has no OPT; .* family gpt2 with --"):
        find("opt-125m").require_supported()
    gemma = find("recurrentgemma-2b")
    assert gemma.runs_as == "no"
    for ask in (gemma.require_supported, gemma.shape):
        with pytest.raises(UserError, match=r"recurrentgemma-2b cannot be profiled: llama\.cpp has no RecurrentGemma"):
            ask()


def test_an_entry_inherits_from_the_one_it_is_like() -> None:
    base, tuned = find("qwen2.5-0.5b"), find("qwen2.5-0.5b-instruct")
    assert tuned.config == base.config | {"eos_token_id": 151645}
    assert (tuned.license, tuned.n_params, tuned.source) == (base.license, base.n_params, base.source)
    assert (base.revision, tuned.revision) == (
        "060db6499f32faf8b98477b0a26969ef7d8b9987",
        "7ae557604adf67be50417f59c2c2f167def9a775",
    )
    assert find("stablelm-zephyr-3b").survey == "StableLM-zephyr-3B"
    assert find("stablelm-3b-4e1t").survey is None


def names(*words: str, **filters: Any) -> list[str]:
    return [spec.name for spec in matching(*words, **filters)]


def test_models_are_found_by_a_part_of_what_is_known_of_them() -> None:
    assert names("danube2") == ["danube2-1.8b", "danube2-1.8b-chat"]
    assert names("EleutherAI", most_params=100_000_000) == ["pythia-14m", "pythia-31m", "pythia-70m"]
    assert names("Phi_1") == ["phi-1", "phi-1.5"]
    assert names("rail", most_params=600_000_000) == ["bloom-560m", "bloomz-560m"]
    assert names("no such model") == []


def test_models_are_filtered_by_size_family_and_what_llama_cpp_runs() -> None:
    assert names(most_params=70_426_624) == ["pythia-14m", "pythia-31m", "pythia-70m"]
    assert names(most_params=70_426_623) == ["pythia-14m", "pythia-31m"]
    opt = ["galactica-125m", "opt-125m", "opt-350m", "galactica-1.3b", "opt-1.3b", "opt-2.7b"]
    assert names(family="OPT") == opt
    assert names(family="opt", supported=True) == []
    assert len(names()) - len(names(supported=True)) == len(UNSUPPORTED) == 11
    with pytest.raises(UserError, match=r"there is no family 'gpt9' in the registry; there are .*bloom, .*gemma, "):
        names(family="gpt9")
