"""`slmprof imatrix` through the real library, compared with what the model's mathematics requires."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader

from quant.base.files import sha256_of
from quant.gguf_io.artifact import describe
from tests.support.checkpoints import make_checkpoint
from tests.support.commandline import assert_one_line, slmprof
from tests.support.ggufs import tiny_gguf

WIDTH, FFN, N_LAYERS, N_CTX = 256, 512, 2, 128


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(
        tmp_path_factory.mktemp("imatrix") / "tiny", hidden=WIDTH, layers=N_LAYERS, heads=4, kv_heads=2, ffn=FFN
    )


def test_the_sums_are_those_that_the_norms_demand_and_a_level_takes_them(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "imatrix.gguf"
    done = slmprof("imatrix", model, "-t", "1", "--n-ctx", str(N_CTX), "--chunks", "2", "-o", out, cache=tmp_path / "c")
    assert (done.status, done.out) == (0, f"{out}\n"), done
    assert "14 tensors, 2 windows of 128 tokens of corpus.txt" in done.err
    found = {each.name: each.data for each in GGUFReader(out).tensors}
    matrices = ("attn_k", "attn_output", "attn_q", "attn_v", "ffn_down", "ffn_gate", "ffn_up")
    assert set(found) == {
        f"blk.{layer}.{name}.weight.{part}"
        for layer in range(N_LAYERS)
        for name in matrices
        for part in ("in_sum2", "counts")
    }
    (whole,) = (tmp_path / "c" / "models").glob("*.gguf")
    norms = {each.name: np.asarray(each.data) for each in GGUFReader(whole).tensors if "norm" in each.name}
    for layer in range(N_LAYERS):
        sums = {name: found[f"blk.{layer}.{name}.weight.in_sum2"] for name in matrices}
        assert all(found[f"blk.{layer}.{name}.weight.counts"].tolist() == [2 * N_CTX] for name in matrices)
        # Matrices side by side have the same input.
        assert np.array_equal(sums["attn_q"], sums["attn_k"])
        assert np.array_equal(sums["attn_q"], sums["attn_v"])
        assert np.array_equal(sums["ffn_gate"], sums["ffn_up"])
        # What a norm puts out has a mean square of one in each row, before the norm's weight is multiplied in.
        for name, norm in (("attn_q", "attn_norm"), ("ffn_up", "ffn_norm")):
            squares = sums[name] / np.square(norms[f"blk.{layer}.{norm}.weight"], dtype=np.float64)
            assert squares.sum() == pytest.approx(2 * N_CTX * WIDTH, rel=0.01)
        assert sums["ffn_down"].shape == (FFN,)
    made = slmprof("quantize", whole, "-q", "Q2_K_S", "--imatrix", out, "-o", tmp_path / "q", cache=tmp_path / "c")
    assert made.status == 0, made
    assert describe(Path(made.out.strip())).imatrix_sha256 == sha256_of([out])


def test_user_errors_are_one_line(tmp_path: Path) -> None:
    model = tiny_gguf(tmp_path / "model.gguf", tokenizer="bpe", synthetic=False)
    text = tmp_path / "short.txt"
    text.write_text("A short text.\n")
    out = tmp_path / "new.gguf"

    def refused(*arguments: str | Path, words: tuple[str, ...]) -> None:
        assert_one_line(slmprof("imatrix", *arguments, cache=tmp_path / "c"), *words)
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".new", "new"))] == []

    refused(model, "-o", tmp_path / "new.dat", words=("new.dat must end in .gguf",))
    refused(model, "--text", tmp_path / "no.txt", "-o", out, words=("no.txt", "--text"))
    text.write_bytes(b"caf\xe9")
    refused(model, "--text", text, "-o", out, words=("short.txt is not UTF-8 (byte 3)",))
    text.write_text("+ + +\n")  # no two of these are one token
    refused(model, "--text", text, "-o", out, words=("short.txt has 5 tokens", "window of 512", "--n-ctx"))


def test_synthetic_weights_are_refused(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "synthetic.gguf")
    done = slmprof("imatrix", path, "-o", tmp_path / "new.gguf", cache=tmp_path / "c")
    assert_one_line(done, "synthetic.gguf are synthetic")
