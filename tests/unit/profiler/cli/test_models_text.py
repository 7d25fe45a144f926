"""The registry as a person reads it."""

from msgspec.structs import replace

from profiler.cli.models import details, listing
from quant.sources.registry import load_registry
from tests.support.registry import find


def test_the_list_fits_into_100_columns_and_lines_up() -> None:
    lines = list(listing(list(load_registry().values())))
    assert len(lines) == 1 + len(load_registry())
    assert max(map(len, lines)) <= 100
    start = lines[0].index("runs")
    assert {line[start:].split()[0] for line in lines[1:]} == {"itself", "as", "no"}


def test_a_line_says_size_date_family_what_runs_and_the_licence() -> None:
    assert list(listing([find("opt-125m"), find("gemma-3-1b"), find("mobillama-1b")])) == [
        "name          params  date     family       runs      license",
        "opt-125m      125.2M  2022-05  opt          as gpt2   other",
        "gemma-3-1b    999.9M  2025-03  gemma3_text  itself    gemma (gated)",
        "mobillama-1b   1.26B  2024-02  mobillama    as llama  ?",
    ]


def test_details_of_a_stand_in_have_its_size_and_what_differs() -> None:
    lines = list(details(find("opt-350m")))
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 100
    assert "repository facebook/opt-350m survey OPT-350M in arXiv 2409.15790 parameters 331,196,416, unique" in text
    assert "shape from survey, config shape OPTForCausalLM: hidden_size 1024, ffn_dim 4096," in text
    assert (
        "runs not itself: llama.cpp has no OPT stand-in GPT2LMHeadModel with --weights synthetic: n_embd 1024" in text
    )
    assert "330,147,840 parameters (-0.32 %); differs: GELU for ReLU," in text


def test_details_of_another_name_the_pinned_commit_and_shorten_lists() -> None:
    plain = " ".join(details(find("smollm2-135m")))
    assert "HuggingFaceTB/SmolLM2-135M at 93efa2f097d58c2a74874c7e644dbc9b0cee75a2" in plain
    assert "stand-in" not in plain
    assert "num_query_heads [12 … 20]" in " ".join(" ".join(details(find("openelm-270m"))).split())


def test_a_mixture_of_experts_has_the_parameters_that_a_token_uses_too() -> None:
    experts = replace(find("gemma-3-1b"), name="experts", n_params_active=250_000_000, tokenizer="bpe qwen2")
    assert list(listing([experts, find("opt-125m")])) == [
        "name      params  active  date     family       runs     license",
        "experts   999.9M  250.0M  2025-03  gemma3_text  itself   gemma (gated)",
        "opt-125m  125.2M          2022-05  opt          as gpt2  other",
    ]
    lines = list(details(experts))
    assert "parameters  999,885,952, unique; a token uses 250,000,000" in lines
    assert "vocabulary  bpe qwen2" in lines


def test_what_is_too_long_for_a_line_is_cut_and_an_address_is_not() -> None:
    address = f"huggingface.co/{'a' * 100}/config.json"
    long = replace(find("opt-125m"), name="a" * 50, license="b" * 60, source=address)
    heading, line = listing([long])
    assert (len(heading), len(line), line[-1]) == (93, 100, "…")
    assert any(line.endswith(address) for line in details(long))
