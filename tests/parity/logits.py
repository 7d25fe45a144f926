"""transformers on the checkpoint against llama.cpp on our float32 file: next-token logits at every position."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from quant.convert import convert
from tests.parity.oracle import Oracle, run
from tests.parity.variants import VARIANTS, make_variant

_TOLERANCE = 1e-3  # of the logits' spread
_N_TOKENS = 48


def compare_logits(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Compare all variants; the bar is 1e-3 of the largest minus the smallest logit."""
    findings = []
    print("logits against transformers, float32")
    drivers = Path(__file__).parent / "drivers"
    for name in VARIANTS:
        checkpoint, pre = make_variant(name, oracle.work / "checkpoints")
        n_vocab = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
        tokens = np.random.default_rng(7).integers(0, n_vocab, _N_TOKENS).tolist()
        folder = oracle.work / "logits"
        folder.mkdir(exist_ok=True)
        ids, theirs, ours = folder / f"{name}.json", folder / f"{name}-theirs.npy", folder / f"{name}-ours.npy"
        ids.write_text(json.dumps(tokens))
        gguf = oracle.work / "ours" / f"{name}-f32.gguf"
        convert(checkpoint, gguf, outtype="f32", pre=pre)
        run([str(oracle.python), str(drivers / "logits.py"), str(checkpoint), str(ids), str(theirs)], quiet=True)
        run([sys.executable, str(drivers / "llama_logits.py"), str(gguf), str(ids), str(ours)], quiet=True)
        expected, found = np.load(theirs), np.load(ours)
        spread = float(expected.max() - expected.min())
        worst = float(np.abs(expected - found[:, : expected.shape[1]]).max())
        findings.append({"variant": name, "max_abs_difference": worst, "spread": spread, "ratio": worst / spread})
        print(f"  {name:22} max difference {worst:.2e}, spread {spread:.3f}, ratio {worst / spread:.1e}")
    return all(finding["ratio"] <= _TOLERANCE for finding in findings), findings
