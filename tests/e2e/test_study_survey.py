"""`slmprof study survey` on two tiny shapes: within a budget, called again, and without a calibration."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.support.commandline import assert_one_line, slmprof

SHAPE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 512,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture
def models(tmp_path: Path) -> str:
    for n_layers in (1, 2):
        folder = tmp_path / f"tiny-{n_layers}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({**SHAPE, "num_hidden_layers": n_layers}))
    return f"{tmp_path / 'tiny-1'},{tmp_path / 'tiny-2'}"


def rounds(results: Path) -> Counter[tuple[str, int]]:
    records = [json.loads(line) for line in results.read_text().splitlines()]
    return Counter(
        (record["cell"]["artifact_sha256"], record["round"]) for record in records
        if record["type"] == "round" and not record.get("repeated")
    )  # fmt: skip


@pytest.mark.slow
def test_the_survey_stops_at_its_budget_and_the_same_command_goes_on(models: str, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "survey"
    command = ("study", "survey", "--models", models, "-t", "1", "-o", out)
    first = slmprof(*command, "--budget", "5s", cache=cache)
    assert first.status == 0, first.err
    assert first.out.split() == [str(out / "survey.html"), str(out / "survey.md")]
    assert "not calibrated" in first.err
    done = rounds(out / "results.jsonl")
    assert done
    more = slmprof(*command, "--measure", "--budget", "2s", cache=cache)
    assert more.status == 0, more.err
    total = rounds(out / "results.jsonl")
    assert set(total.values()) == {1}
    assert set(done) <= set(total)
    page = (out / "survey.md").read_text()
    assert "measured, " in page
    assert "Does tiny-1 beat tiny-2 in decode" in page
    assert str(tmp_path) not in page


def test_predicting_needs_a_calibration_and_says_so_in_one_line(cache: Path, tmp_path: Path) -> None:
    done = slmprof("study", "survey", "--predict", "-t", "1", "-o", tmp_path / "out", cache=cache)
    assert_one_line(done, "slmprof calibrate -t 1")
    assert not (tmp_path / "out").exists()
