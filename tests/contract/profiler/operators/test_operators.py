"""A tiny model's graph seen through the real library: every node is there, in its place, and what it costs is true."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from quant.convert.to_gguf import convert
from quant.synthetic.checkpoint import synthesize
from tests.support.commandline import assert_one_line, slmprof

N_LAYERS, WIDTH, FFN, VOCAB = 2, 64, 128, 512
SHAPE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": FFN,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCAB,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
COUNTS = ("--prefill", "8", "-n", "2", "-r", "2")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operators")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMPROF_CACHE", str(folder / "cache"))
        checkpoint = synthesize(SHAPE, folder / "tiny", standin_for="tiny-1m")
        target = folder / "tiny-F16.gguf"
        convert(checkpoint, target, outtype="f16")
    return target


@pytest.mark.parametrize("threads", ["1", "2"])
def test_every_node_is_seen(model: Path, tmp_path: Path, threads: str) -> None:
    trace = tmp_path / "trace.json"
    done = slmprof("operators", model, "-t", threads, *COUNTS, "--json", "--trace", trace, cache=tmp_path)
    assert done.status == 0, done.err
    report = json.loads(done.out)
    assert (report["weights"], report["standin_for"], report["n_threads"]) == ("synthetic", "tiny-1m", int(threads))
    assert str(tmp_path) not in done.out
    for phase, n_tokens in (("prefill", 8), ("decode", 1)):
        found = report["phases"][phase]
        calls = {row["name"]: row["calls"] for row in found["operators"]}
        # Q, K, V, output, gate, up and down of each layer, and the LM head; two norms in each layer and the last.
        assert calls["MUL_MAT"] == 7 * N_LAYERS + 1
        assert calls["RMS_NORM+MUL"] == 2 * N_LAYERS + 1
        assert calls["ROPE"] == calls["SET_ROWS"] == 2 * N_LAYERS
        assert calls["SWIGLU"] == calls["FLASH_ATTN_EXT"] == N_LAYERS
        modules = {row["name"]: row for row in found["modules"]}
        assert modules["FFN"]["calls"] == 4 * N_LAYERS
        assert modules["attention"]["calls"] == 7 * N_LAYERS
        assert modules["KV copy"]["calls"] == 2 * N_LAYERS
        assert modules["LM head"]["calls"] == 1
        # The last token alone meets the LM head.
        assert modules["LM head"]["n_flops"] == 2 * WIDTH * VOCAB
        assert modules["LM head"]["n_bytes"] == 2 * WIDTH * VOCAB + 4 * WIDTH + 4 * VOCAB
        # In the last layer of a prefill only the last token goes on beyond attention.
        n_rows = n_tokens * (N_LAYERS - 1) + 1
        assert modules["FFN"]["n_flops"] == 2 * 3 * WIDTH * FFN * n_rows
        assert [row["layer"] for row in found["layers"]] == list(range(N_LAYERS))
        assert sum(row["share"] for row in found["modules"]) == pytest.approx(1)
        assert found["constants"]["noop_ns"] > 0
        assert found["sums"]["raw_ns"] > found["sums"]["corrected_ns"] > 0
        assert (found["constants"]["n_joins"] > 0) == (threads == "2")
    events = json.loads(trace.read_text())["traceEvents"]
    assert sum(event.get("name") == "MUL_MAT" for event in events) == 2 * (7 * N_LAYERS + 1)


def test_the_depth_and_attention_without_flash(model: Path, tmp_path: Path) -> None:
    done = slmprof("operators", model, "-t", "1", *COUNTS, "--depth", "20", "--fa", "off", cache=tmp_path)
    assert done.status == 0, done.err
    assert "Prefill of 8 tokens at depth 20: " in done.out
    assert "One decode step at depth 28: " in done.out
    assert "flash attention off" in done.out
    assert "SOFT_MAX" in done.out
    assert "SYNTHETIC weights in the shape of tiny-1m" in done.out


def test_user_errors_are_one_line(model: Path, tmp_path: Path) -> None:
    assert_one_line(slmprof("operators", model.parent / "tiny", cache=tmp_path), "name one level", "-q Q4_K_M")
    both = slmprof("operators", model, "-q", "Q8_0,Q4_0", cache=tmp_path)
    assert_one_line(both, "Q8_0,Q4_0 are several levels")
    nowhere = slmprof("operators", model, "--trace", tmp_path / "no" / "t.json", cache=tmp_path)
    assert_one_line(nowhere, "the folder of", "t.json")
    assert_one_line(slmprof("operators", tmp_path / "no.gguf", cache=tmp_path), "no.gguf")


def test_a_file_that_llama_cpp_refuses_fails_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    writer = gguf.GGUFWriter(broken, "llama")
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    done = slmprof("operators", broken, "-t", "1", *COUNTS, cache=tmp_path)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("slmprof: broken.gguf failed: ")
    assert len(done.err.splitlines()) == 1
