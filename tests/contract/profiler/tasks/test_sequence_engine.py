"""Sequences that share prefixes give what each gives alone, for every kind of memory that a model has."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quant.base.child import child_environment
from quant.convert.to_gguf import convert
from tests.families.deepseek2 import VARIANTS as DEEPSEEK2
from tests.families.falcon_h1 import config as falcon_h1
from tests.families.gemma3 import config as gemma3
from tests.families.lfm2 import config as lfm2
from tests.families.mamba import config as mamba
from tests.support.checkpoints import decoder_config, write_checkpoint
from tests.support.commandline import ROOT

MODELS: dict[str, dict[str, Any]] = {
    "llama": decoder_config(context=2048, tokenizer="spm"),
    "sliding window": gemma3(context=2048) | {"sliding_window": 64},
    "latent attention": next(iter(DEEPSEEK2.values())).config,
    "convolutions": lfm2(context=2048, tokenizer="spm"),
    "attention and state": falcon_h1(context=2048, tokenizer="spm"),
    "state": mamba(bos_token_id=1, eos_token_id=2),
}


@pytest.mark.parametrize("kind", MODELS)
def test_shared_prefixes_change_nothing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    checkpoint = write_checkpoint(tmp_path / "checkpoint", MODELS[kind], tokenizer="spm")
    convert(checkpoint, tmp_path / "tiny.gguf", outtype="f32")
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.scored_sequences", tmp_path / "tiny.gguf"],
        cwd=ROOT, env=child_environment(), check=True, timeout=120, stdout=subprocess.PIPE,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["difference"] <= 1e-5 * found["spread"]  # keys and values have 16 bits
    assert found["spread"] > 100
    assert found["n_same_texts"] == found["n_texts"]
    assert found["can_rewind"] == (kind in ("llama", "sliding window", "latent attention"))
