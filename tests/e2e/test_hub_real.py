"""The main job on the real SmolLM2-135M, where a hub can be reached: `make e2e-hub`."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.paths import ROOT

N_PARAMS = 134_515_008
LEVELS = ("F16", "Q8_0", "Q4_K_M")

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module", autouse=True)
def a_hub() -> None:
    if os.environ.get("SLMPROF_E2E_HUB") != "1":
        pytest.skip("fetches 260 MiB from a hub; `make e2e-hub` runs it")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if not endpoint.startswith(("http://", "https://")):
        pytest.skip(f"HF_ENDPOINT={endpoint} is no address")
    try:
        urllib.request.urlopen(f"{endpoint}/api/models/HuggingFaceTB/SmolLM2-135M", timeout=15).close()
    except OSError as error:
        pytest.skip(f"no hub can be reached at {endpoint}: {error}")


def slmprof(*words: str, **settings: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "profiler", *words],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_job_on_real_weights(tmp_path: Path) -> None:
    folder = Path(slmprof("pull", "smollm2-135m").strip())
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    assert not list(folder.glob("*.bin"))

    slmprof(
        *("run", "smollm2-135m", "-q", ",".join(LEVELS), "-t", "1,2", "-p", "64", "-n", "16", "-r", "1"),
        *("--rounds", "2", "-o", str(tmp_path / "out")),
    )
    cells = json.loads(slmprof("export", str(tmp_path / "out" / "results.jsonl"), "--format", "json"))
    assert {cell["quant"] for cell in cells} == set(LEVELS)
    assert {cell["n_threads"] for cell in cells} == {1, 2}
    for cell in cells:
        assert cell["status"] == "ok"
        assert cell["weights"] == "real"
        assert cell["n_params"] == N_PARAMS
    assert list((tmp_path / "out").rglob("*.png"))

    # What was fetched serves without a network too.
    assert Path(slmprof("pull", "smollm2-135m", HF_HUB_OFFLINE="1").strip()) == folder
