"""Recurrent and hybrid families: what they refuse, the sizes of their states, and tensors changed by value."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quant.base.errors import UserError
from quant.convert.families import complete_config, family_of, planned_tensors
from quant.convert.families.planned import Planned
from quant.convert.job import Job
from quant.convert.row_chunks import read_chunk
from quant.convert.safetensors_file import Tensor
from tests.families import falcon_h1, granitehybrid, jamba, lfm2, mamba, mamba2, nemotron_h, plamo2, rwkv6, rwkv7


def plan(config: dict[str, Any]) -> dict[str, Planned]:
    family = family_of(config)
    return {str(each.target): each for each in planned_tensors(family, complete_config(family, config))}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (lfm2.config() | {"layer_types": ["conv", "conv"]}, "layer_types = .* a list of 3 times conv or full_attention"),
    (lfm2.config() | {"layer_types": ["conv", "conv", "sliding_attention"]}, "sliding_attention"),
    (lfm2.config() | {"head_dim": 32}, "4 attention heads of 32 values in a width of 64"),
    (lfm2.config() | {"conv_bias": True}, "conv_bias = true"),
    (mamba.config(intermediate_size=96), "intermediate_size = 96"),
    (mamba.config(use_bias=True), "use_bias = true"),
    (mamba2.config(num_heads=4), "4 heads of 16 values, which are not expand = 2 times"),
    (mamba2.config(n_groups=3), "3 groups in a state space layer of 128 channels"),
    (mamba2.config(time_step_limit=[0.0, 0.1]), "time_step_limit"),
    (falcon_h1.config() | {"mamba_rms_norm": True, "mamba_norm_before_gate": True}, "behind the gate"),
    (falcon_h1.config() | {"ssm_multipliers": [1.0]}, "ssm_multipliers = .*a list of 5 numbers"),
    (falcon_h1.config(tie=True) | {"embedding_multiplier": 2.0}, "two factors"),
    (falcon_h1.config(rope_scaling={"rope_type": "linear", "factor": 2.0}), "rope scaling"),
    (granitehybrid.config() | {"shared_intermediate_size": 64}, "shared_intermediate_size = 64"),
    (granitehybrid.config() | {"mamba_n_heads": 4}, "4 state space heads of 16 values"),
    (granitehybrid.config() | {"layer_types": ["mamba", "attention", "moe"]}, "times mamba or attention"),
    (jamba.config() | {"attn_layer_offset": 2}, "attn_layer_offset = 2, which must be below 2"),
    (jamba.config() | {"num_experts": 4, "expert_layer_offset": 3}, "expert_layer_offset = 3, which must be below 2"),
    (nemotron_h.config(hybrid_override_pattern="M-E"), "layers of the kinds"),
    (plamo2.config(mamba_enabled=False), "mamba_enabled = false"),
    (rwkv6.config(head_size=48), "heads of 48 values in a width of 128"),
    (rwkv7.config(tie_word_embeddings=True), "tie_word_embeddings = true"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_what_llama_cpp_does_not_compute_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(config)


def test_a_granite_with_attention_alone_is_llama_cpp_s_granite() -> None:
    alone = granitehybrid.config() | granitehybrid.ATTENTION
    assert (family_of(granitehybrid.config()).arch, family_of(alone).arch) == ("granitehybrid", "granite")
    assert "blk.0.attn_q.weight" in plan(alone)


def test_a_padded_vocabulary_is_a_multiple() -> None:
    assert plan(mamba.config(vocab_size=50277))["token_embd.weight"].shape == (50280, 64)
    assert plan(mamba2.config(vocab_size=50277))["token_embd.weight"].shape == (50288, 64)
    assert plan(mamba.config(vocab_size=500, pad_vocab_size_multiple=64))["token_embd.weight"].shape == (512, 64)


def test_the_width_of_a_feed_forward_part_may_be_made_smaller() -> None:
    # LFM2-1.2B: two thirds of 12288 to a multiple of 256.
    config = lfm2.config() | {"block_auto_adjust_ff_dim": True, "block_ff_dim": 12288, "block_multiple_of": 256}
    assert plan(config)["blk.0.ffn_gate.weight"].shape == (8192, 64)


def job(folder: Path, values: np.ndarray, planned: Planned) -> Job:
    """Return the job of a tensor whose source is a file of these values alone."""
    path = folder / "values"
    values.tofile(path)
    kind = {"float32": "F32", "float16": "F16", "uint16": "BF16"}[str(values.dtype)]
    return Job(planned, (Tensor("t", kind, values.shape, path, 0),))


def test_each_band_of_rows_has_a_factor_of_its_own(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    planned = Planned(name="t", shape=(6, 2), scale=0.5, bands=((1, 2.0), (4, 10.0), (6, 100.0)))
    expected = (values * 0.5 * np.array([2, 10, 10, 10, 100, 100])[:, None]).reshape(-1)
    whole = job(tmp_path, values, planned)
    assert read_chunk(whole, 0, 6).tolist() == expected.tolist()
    # A chunk begins within a band.
    assert read_chunk(whole, 2, 5).tolist() == expected[4:10].tolist()


@pytest.mark.parametrize(("kind", "tolerance"), [("float32", 0), ("float16", 1e-3)])
def test_logarithms_become_negative_values(tmp_path: Path, kind: str, tolerance: float) -> None:
    values = np.array([[0.0, 1.0], [-2.0, 3.0]], dtype=kind)
    found = read_chunk(job(tmp_path, values, Planned(name="t", shape=(2, 2), is_log=True)), 0, 2)
    assert found.dtype == values.dtype
    expected = -np.exp(values.astype(np.float64)).reshape(-1)
    assert found.astype(np.float64) == pytest.approx(expected.astype(kind).astype(np.float64), rel=tolerance)
