"""Families whose values change, whose matrices may be saved once, and what llama.cpp does not compute of some."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quant.base.errors import UserError
from quant.convert.families import complete_config, find_family
from quant.convert.families.planned import Grouped, Interleaved
from quant.convert.layout import Layout, open_layout
from quant.convert.row_chunks import chunk_type, n_rows, read_chunk
from quant.gguf_io.floats import convert_floats
from tests.families import (
    baichuan,
    codeshell,
    cohere2,
    command_r,
    falcon,
    internlm2,
    internlm3,
    jais,
    mpt,
    nemotron,
    orion,
    starcoder,
    starcoder2,
)
from tests.support.checkpoints import write_checkpoint

WEIGHTS = "model.safetensors"
_EMBEDDING, _OUTPUT = "transformer.wte.weight", "lm_head.weight"


def complete(config: dict[str, Any]) -> dict[str, Any]:
    return complete_config(find_family(config["architectures"][0]), config)


def layout_of(config: dict[str, Any], folder: Path, *, without: str | None = None) -> Layout:
    """Return the layout of a checkpoint that lacks a tensor."""
    write_checkpoint(folder, config, dtype="float32", tokenizer="none")
    found = load_file(folder / WEIGHTS)
    save_file({name: values for name, values in found.items() if name != without}, folder / WEIGHTS)
    return open_layout(folder)


def values_of(layout: Layout, target: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    job = next(job for job in layout.jobs if job.target == target)
    values = convert_floats(read_chunk(job, 0, n_rows(job)), chunk_type(job), "F32")
    return values.view(np.float32).reshape(job.planned.shape)


def test_a_part_of_the_groups_is_interleaved() -> None:
    # The keys of two groups of one query each, in heads of four rows: q k v, q k v.
    keys = Grouped(2, 2, 4, first_head=2, interleaved=True)
    assert keys.source_rows(0, 8, 8).tolist() == [4, 6, 5, 7, 16, 18, 17, 19]
    assert Interleaved(2, first_row=8).source_rows(0, 8, 8).tolist() == [8, 10, 9, 11, 12, 14, 13, 15]


def test_scales_go_into_the_matrices(tmp_path: Path) -> None:
    layout = layout_of(jais.VARIANTS["jais-13b-bf16"].config, tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    for target, name, scale in (
        ("token_embd.weight", _EMBEDDING, jais.OLD["embeddings_scale"]),
        ("output.weight", _OUTPUT, jais.OLD["width_scale"]),
    ):
        assert np.array_equal(values_of(layout, target), stored[name] * np.float32(scale))


def test_a_tied_jais_that_is_saved_once_has_an_output_matrix(tmp_path: Path) -> None:
    layout = layout_of(jais.VARIANTS["jais-590m-f32"].config, tmp_path, without=_OUTPUT)
    stored = load_file(tmp_path / WEIGHTS)[_EMBEDDING]
    scale = np.float32(jais.NEW["mup_output_alpha"] * jais.NEW["mup_width_scale"])
    assert np.array_equal(values_of(layout, "output.weight"), stored * scale)


@pytest.mark.parametrize("without", [None, _OUTPUT, _EMBEDDING])
def test_a_tied_codeshell_has_an_output_matrix_whichever_is_saved(tmp_path: Path, without: str | None) -> None:
    config = codeshell.VARIANTS["codeshell-untied-f32"].config
    layout_of(config | {"tie_word_embeddings": False}, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    found = load_file(tmp_path / WEIGHTS)
    save_file({name: values for name, values in found.items() if name != without}, tmp_path / WEIGHTS)
    targets = {job.target for job in open_layout(tmp_path).jobs}
    assert "output.weight" in targets
    assert ("token_embd.weight" in targets) == (without != _EMBEDDING)


def test_rows_of_baichuan_2_s_output_have_length_one(tmp_path: Path) -> None:
    layout = layout_of(baichuan.VARIANTS["baichuan-2"].config, tmp_path)
    assert np.allclose(np.linalg.norm(values_of(layout, "output.weight"), axis=1), 1, atol=1e-6)
    stored = load_file(tmp_path / WEIGHTS)[_OUTPUT]
    assert not np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-2)


def test_falcon_counts_one_key_where_its_first_architecture_shares_it() -> None:
    config = complete(falcon.config(num_kv_heads=4))
    shapes = {each.name: each.shape for each in find_family("FalconForCausalLM").tensors(config)}
    assert shapes["transformer.h.0.self_attention.query_key_value.weight"] == ((4 + 2) * 16, 64)


def test_cohere_s_longest_text_is_the_one_it_was_trained_for() -> None:
    config = complete(command_r.config() | {"model_max_length": 131072})
    assert config["max_position_embeddings"] == 131072


@pytest.mark.parametrize(
    ("config", "change"),
    [
        (falcon.config(), {"alibi": True}),
        (falcon.config(), {"bias": True}),
        (falcon.config(), {"parallel_attn": False}),
        (falcon.config(), {"num_attention_heads": 5}),
        (starcoder.config(), {"multi_query": False}),
        (starcoder2.config(), {"use_bias": False}),
        (starcoder2.config(), {"head_dim": 32}),
        (mpt.config({"qk_ln": True}), {}),
        (mpt.config({"softmax_scale": 0.5}), {}),
        (mpt.config(), {"logit_scale": "inv_sqrt_d_model"}),
        (mpt.config(), {"ffn_config": {"ffn_type": "mptglu"}}),
        (nemotron.config(), {"head_dim": 32}),
        (nemotron.config(), {"tie_word_embeddings": True}),
        (nemotron.config(), {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}),
        (command_r.config(), {"use_qk_norm": True}),
        (command_r.config(), {"num_hidden_layers": 64}),
        (command_r.config(), {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        (cohere2.config(), {"rotary_pct": 0.5}),
        (baichuan.VARIANTS["baichuan-7b-bf16"].config, {"num_hidden_layers": 33}),
        (codeshell.VARIANTS["codeshell-tied-bf16"].config, {"position_embedding_type": "learned_absolute"}),
        (codeshell.VARIANTS["codeshell-tied-bf16"].config, {"num_query_groups": 3}),
        (internlm2.VARIANTS["internlm2-bf16"].config, {"bias": True}),
        (internlm3.config(), {"attention_bias": True}),
        (jais.VARIANTS["jais-13b-bf16"].config, {"width_scale": 0.0}),
        (jais.VARIANTS["jais-13b-bf16"].config, {"scale_qk_dot_by_d": False}),
        (orion.VARIANTS["orion-bf16"].config, {"tie_word_embeddings": True}),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(config: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        complete(config | change)
