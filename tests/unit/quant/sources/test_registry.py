"""The registry: its facts agree with each other, and names are found however they are written."""

import subprocess
import sys

import pytest

from quant.base.errors import UserError
from quant.sources.registry import load_registry, lookup, suggestion
from tests.support.checkpoints import n_params_of
from tests.support.paths import ROOT
from tests.support.registry import find

# Published counts: of model cards and of the repositories' safetensors, in full; a few in millions.
PUBLISHED = {
    "bloom-560m": 559_214_592,
    "bloom-1.1b": 1_065_314_304,
    "bloom-1.7b": 1_722_408_960,
    "bloom-3b": 3_002_557_440,
    "gpt2": 124_439_808,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "distilgpt2": 81_912_576,
    "pythia-14m": 14_067_712,
    "pythia-70m": 70_426_624,
    "pythia-160m": 162_322_944,
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2b": 2_506_172_416,
    "qwen3-0.6b": 596_049_920,
    "qwen3-4b": 4_022_468_096,
    "smollm3-3b": 3_075_098_624,
    "phi-4-mini-instruct": 3_836_021_760,
    "phi-3-mini": 3_821_079_552,
    "olmo-2-1b": 1_484_916_736,
    "granite-3.1-2b-instruct": 2_533_531_648,
    "stablelm-3b-4e1t": 2_795_443_200,
    "stablelm-2-1.6b": 1_644_515_328,
    "danube2-1.8b": 1_831_201_280,
    "deepseek-coder-1.3b": 1_346_471_936,
    "open-llama-3b": 3_426_473_600,
    "salamandra-2b": 2_253_490_176,
    "starcoder2-3b": 3_030_371_328,
    "exaone-4.0-1.2b": 1_279_391_488,
    "ministral-8b-instruct": 8_019_808_256,
    "lfm2-350m": 354_483_968,
    "lfm2-700m": 742_489_344,
    "lfm2-1.2b": 1_170_340_608,
    "lfm2.5-1.2b": 1_170_340_608,
    "lfm2-2.6b": 2_569_272_320,
    "mamba-130m": 129_135_360,
    "mamba-2.8b": 2_768_345_600,
    "deepseek-coder-v2-lite": 15_706_484_224,
}
CARDS = {
    "smollm2-135m": 135,
    "smollm2-360m": 362,
    "smollm2-1.7b": 1711,
    "tinyllama-1.1b": 1100,
    "llama-3.2-1b": 1236,
    "llama-3.2-3b": 3213,
    "qwen1.5-0.5b": 464,
    "qwen2-0.5b": 494,
    "qwen2-1.5b": 1544,
    "qwen2.5-3b": 3086,
    "falcon3-1b": 1669,
    "falcon3-3b": 3228,
    "deepseek-r1-distill-qwen-1.5b": 1777,
    "amd-llama-135m": 134,
    "eurollm-1.7b": 1657,
    "sheared-llama-1.3b": 1345,
    "sheared-llama-2.7b": 2702,
}
BILLIONS = {  # as announced, with the digits that are given
    "qwen3-8b": "8.2",
    "granite-3.1-8b-instruct": "8.17",
    "llama-3.1-minitron-4b-width": "4.5",
    "olmoe-1b-7b": "6.9",
    "exaone-3.5-2.4b-instruct": "2.4",
    "exaone-3.5-7.8b-instruct": "7.8",
    "ernie-4.5-0.3b": "0.36",
    "ministral-3-3b": "3.4",  # of its text model
    "olmo-3-7b": "7.3",
    "falcon-h1-0.5b": "0.5",
    "granite-4.0-h-350m": "0.34",
    "lfm2-8b-a1b": "8.3",
    "mamba-codestral-7b": "7.3",
    "command-r7b": "8.03",
    "tiny-aya": "3.35",
    "minitron-4b": "4.19",
    "gemma-3n-e2b": "4.46",  # of its text model
    "smallthinker-4b-a0.6b": "4",
}
ACTIVE = {"olmoe-1b-7b": "1.3"}  # parameters that a token uses
SPECS = list(load_registry().values())


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_the_count_is_the_published_one(name: str, count: int) -> None:
    assert find(name).n_params == count


@pytest.mark.parametrize(("name", "millions"), CARDS.items())
def test_the_count_is_what_the_card_says(name: str, millions: int) -> None:
    assert round(find(name).n_params / 1e6) == millions


def in_billions(count: int, like: str) -> str:
    """Write a count in billions with as many digits."""
    return f"{count / 1e9:.{len(like.partition('.')[2])}f}"


@pytest.mark.parametrize(("name", "billions"), BILLIONS.items())
def test_the_count_is_the_announced_one(name: str, billions: str) -> None:
    assert in_billions(find(name).n_params, billions) == billions


@pytest.mark.parametrize(("name", "billions"), ACTIVE.items())
def test_what_a_token_uses_is_as_announced(name: str, billions: str) -> None:
    assert in_billions(find(name).n_params_active or 0, billions) == billions


def test_names_are_plain_and_none_shadows_another() -> None:
    plain = [spec.name.lower().replace("-", "").replace(".", "").replace("_", "") for spec in SPECS]
    assert len(set(plain)) == len(SPECS)
    assert all(spec.name == spec.name.lower() and spec.repo.count("/") == 1 for spec in SPECS)
    assert [spec.n_params for spec in SPECS] == sorted(spec.n_params for spec in SPECS)


@pytest.mark.parametrize("name", ["smollm2-135m", "SmolLM2_135M", "smollm2.135m", "SMOLLM2135M"])
def test_case_and_separators_do_not_matter(name: str) -> None:
    assert find(name).repo == "HuggingFaceTB/SmolLM2-135M"


def test_a_misspelt_name_gets_a_suggestion() -> None:
    assert lookup("smolm2-135m") is None
    assert suggestion("smolm2-135m") == "did you mean 'smollm2-135m'? "
    assert suggestion("zzzzzz") == ""


def test_the_llama_biases_count_only_where_the_config_has_them() -> None:
    config = dict(find("smollm2-135m").config)
    plain = n_params_of("LlamaForCausalLM", config)
    n_embd, n_ff, n_layer, n_kv = 576, 1536, 30, 192
    both = {**config, "attention_bias": True, "mlp_bias": True}
    assert n_params_of("LlamaForCausalLM", both) - plain == n_layer * (2 * n_embd + 2 * n_kv + 2 * n_ff + n_embd)
    assert n_params_of("MistralForCausalLM", both) == plain


@pytest.mark.parametrize("broken", [{"vocab_size": 0}, {"hidden_size": "576"}, {"num_hidden_layers": True}])
def test_a_shape_without_a_size_is_refused(broken: dict) -> None:
    with pytest.raises(UserError, match=next(iter(broken))):
        n_params_of("LlamaForCausalLM", {**find("smollm2-135m").config, **broken})
    with pytest.raises(UserError, match="NoSuchModel"):
        n_params_of("NoSuchModel", find("smollm2-135m").config)


def test_names_and_sources_need_no_heavy_package() -> None:
    code = (
        "import sys, quant.sources.registry, quant.sources.resolve, quant.base.cache, quant.hub.select\n"
        "import profiler.cli.models, profiler.cli.pull, profiler.cli.convert\n"
        "quant.sources.resolve.resolve('smollm2-135m')\n"
        "print(sorted({'numpy', 'llama_cpp', 'gguf', 'matplotlib', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
