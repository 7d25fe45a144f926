"""A model that llama.cpp lacks, through its stand-in: from the registry's entry to the facts of the file."""

from pathlib import Path

import pytest

from quant.base.errors import UserError
from quant.base.progress import watch
from quant.sources import prepare
from quant.sources.registry import ModelSpec, Standin
from quant.sources.resolve import Source

GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 1, "n_head": 4, "n_positions": 128, "vocab_size": 512}
TINY = ModelSpec(
    name="tiny-opt",
    repo="org/tiny-opt",
    family="opt",
    architecture="OPTForCausalLM",
    n_params=91_200,
    unsupported="llama.cpp has no OPT",
    standin=Standin(architecture="GPT2LMHeadModel", n_params=91_072, differs="two positions", config=GPT2),
    config={"model_type": "opt"},
)


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    source = Source(kind="registry", text="tiny-opt", spec=TINY, repo=TINY.repo)
    monkeypatch.setattr(prepare, "resolve", lambda text: source)


def test_its_file_has_the_other_family_s_shape_the_model_s_name_and_both_marks(tmp_path: Path) -> None:
    said: list[str] = []
    prepare_options = prepare.PrepareOptions(levels="F16", models_dir=tmp_path / "models", synthetic=True)
    with watch(say=said.append):
        (made,) = prepare.prepare(["tiny-opt"], prepare_options)
    artifact = made.artifact
    assert (artifact.model, artifact.arch, artifact.n_params) == ("tiny-opt", "gpt2", 91_072)
    assert (artifact.weights, artifact.standin_for, artifact.standin_family) == ("synthetic", "tiny-opt", "opt")
    assert artifact.file_name == "tiny-opt-91K-synthetic-F16.gguf"
    assert said == ["making F16 with synthetic weights in the shape of tiny-opt, as gpt2 in its place"]


def test_its_own_weights_are_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    prepare_options = prepare.PrepareOptions(levels="F16", models_dir=tmp_path / "models")
    with pytest.raises(UserError, match=r"tiny-opt cannot be converted: llama\.cpp has no OPT; .*--weights synthetic"):
        prepare.prepare(["tiny-opt"], prepare_options)
    assert not (tmp_path / "models").exists()
