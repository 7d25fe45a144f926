"""The trained model among the test data: it converts, it has learned its language, and few bits cost it something."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.measure.workloads import read_corpus
from quant.convert.to_gguf import convert
from quant.quantize.levels_of_gguf import quantize
from tests.support.checkpoints import TRAINED
from tests.support.paths import ROOT

N_VOCAB, N_TOKENS = 1024, 256


def test_it_knows_its_corpus_and_pays_for_few_bits(tmp_path: Path) -> None:
    whole = tmp_path / "tiny-BF16.gguf"
    assert convert(TRAINED, whole).outtype == "BF16"
    made = quantize(whole, ["Q8_0", "Q2_K"], tmp_path)
    losses, texts = [], []
    for path in (whole, *(each.path for each in made)):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tests.contract.quant.convert.test_tiny_llama", str(path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        )
        loss, text = json.loads(done.stdout.splitlines()[-1])
        losses.append(loss)
        texts.append(text)
    # A model that has learned nothing has the loss of a guess among all tokens.
    assert 0 < losses[0] < 0.75 * math.log(N_VOCAB)
    assert losses[1] == pytest.approx(losses[0], abs=0.05)
    assert losses[2] > losses[0] + 0.02
    assert len(set(texts[0].split())) > 3


def _main(path: str) -> None:
    """Print the mean loss over the corpus's first tokens, and what follows a few words, always the likeliest token."""
    import llama_cpp
    import numpy as np

    llama = llama_cpp.Llama(
        path, n_ctx=512, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False, n_gpu_layers=0
    )
    tokens = llama.tokenize(read_corpus().encode(), add_bos=False)[:N_TOKENS]
    llama.eval(tokens)
    logits = np.asarray(llama.scores[: N_TOKENS - 1], np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    right = logits[np.arange(N_TOKENS - 1), tokens[1:]] - np.log(np.exp(logits).sum(axis=1))
    said = llama.create_completion("The river", max_tokens=24, temperature=0)["choices"][0]["text"]
    print(json.dumps([-float(right.mean()), said]))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1])
