"""A restored snapshot equals the cache, also with a sliding window, whose layers have dropped earlier tokens, and with
recurrent layers, whose state is all that is left of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quant.base.child import child_environment
from quant.convert.to_gguf import convert
from tests.families.falcon_h1 import config as falcon_h1
from tests.families.gemma2 import config as gemma2
from tests.families.gemma3 import config as gemma3
from tests.families.lfm2 import config as lfm2
from tests.families.mamba import config as mamba
from tests.support.checkpoints import decoder_config, write_checkpoint
from tests.support.commandline import ROOT

DEPTH = 1000
WINDOW = 64

MODELS: dict[str, dict[str, Any]] = {
    "gemma3": gemma3(context=2048) | {"sliding_window": WINDOW},
    "gemma2": gemma2(context=2048) | {"sliding_window": WINDOW},
    "llama": decoder_config(context=2048, tokenizer="spm"),
    "lfm2": lfm2(context=2048, tokenizer="spm"),
    "falcon-h1": falcon_h1(context=2048, tokenizer="spm"),
    "mamba": mamba(bos_token_id=1, eos_token_id=2),
}


@pytest.mark.parametrize("family", MODELS)
def test_logits_after_restoring_a_snapshot_at_depth_1000_are_those_of_a_fresh_fill(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    checkpoint = write_checkpoint(tmp_path / "checkpoint", MODELS[family], tokenizer="spm")
    convert(checkpoint, tmp_path / "tiny.gguf", outtype="f32")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.snapshot_logits",
            tmp_path / "tiny.gguf",
            str(DEPTH),
            tmp_path / "out.npz",
        ],
        cwd=ROOT,
        env=child_environment(),
        check=True,
        timeout=120,
    )
    found = np.load(tmp_path / "out.npz")
    fresh = found["fresh"]
    assert np.isfinite(fresh).all()
    spread = float(fresh.max() - fresh.min())
    for name in ("first", "restored", "again"):
        assert float(np.abs(found[name] - fresh).max()) <= 1e-5 * spread, name
    # The logits of two texts differ, or equality would mean nothing.
    assert float(np.abs(found["other"] - fresh).max()) > 1e-3 * spread
