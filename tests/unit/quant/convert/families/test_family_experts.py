"""Mixtures of experts: how their matrices are stacked in streams, and what is refused."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quant.base.errors import UserError
from quant.convert.families import complete_config, find_family
from quant.convert.families.planned import OfEach, Planned
from quant.convert.job import Job
from quant.convert.layout import layout_of_shape, open_layout
from quant.convert.row_chunks import read_chunk, row_chunks
from quant.convert.safetensors_file import read_header
from quant.convert.to_gguf import convert
from tests.families import variants
from tests.support.checkpoints import write_checkpoint

N_EXPERTS, N_FF, N_EMBD = 3, 4, 8


def job(folder: Path, planned: Planned, *arrays: np.ndarray) -> Job:
    save_file(dict(zip(planned.sources, arrays, strict=True)), folder / "model.safetensors")
    tensors = {tensor.name: tensor for tensor in read_header(folder / "model.safetensors")}
    return Job(planned, tuple(tensors[name] for name in planned.sources))


def values(made: Job, n_elements: int) -> np.ndarray:
    """Read all chunks of about so many values."""
    chunks = [read_chunk(made, first, last) for first, last in row_chunks(made, n_elements)]
    return np.concatenate(chunks).reshape(made.planned.shape)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


MERGED = drawn(N_EXPERTS, 2 * N_FF, N_EMBD)
TRANSPOSED = np.ascontiguousarray(MERGED.swapaxes(1, 2))
BIASES = drawn(N_EXPERTS, 2 * N_FF)
HEADS = drawn(N_EXPERTS * 6, N_EMBD)
SHAPE = (N_EXPERTS, N_FF, N_EMBD)
CASES = {
    "halves": (SHAPE, OfEach(N_FF, 2 * N_FF, N_FF), False, MERGED, MERGED[:, N_FF:]),
    "alternating": (SHAPE, OfEach(N_FF, 2 * N_FF, 1, 2), False, MERGED, MERGED[:, 1::2]),
    "transposed": (SHAPE, OfEach(N_FF, 2 * N_FF, 1, 2), True, TRANSPOSED, MERGED[:, 1::2]),
    "biases": (SHAPE[:2], OfEach(N_FF, 2 * N_FF, 1, 2), False, BIASES, BIASES[:, 1::2]),
    "first rows of each head, transposed": (
        *((N_EXPERTS, N_EMBD, 4), None, True, HEADS),
        HEADS.reshape(N_EXPERTS, 6, N_EMBD)[:, :4].swapaxes(1, 2),
    ),
    "last rows of each head": (
        *((N_EXPERTS, 2, N_EMBD), OfEach(2, 6, 4), False, HEADS),
        HEADS.reshape(N_EXPERTS, 6, N_EMBD)[:, 4:],
    ),
}


@pytest.mark.parametrize("n_elements", [1, 40, 1000])
@pytest.mark.parametrize("case", CASES)
def test_parts_of_one_tensor_of_all_experts(case: str, n_elements: int, tmp_path: Path) -> None:
    shape, order, transposed, stored, expected = CASES[case]
    planned = Planned(name="a", shape=shape, target="b", source_shape=stored.shape, order=order, transposed=transposed)
    assert np.array_equal(values(job(tmp_path, planned, stored), n_elements), expected)


@pytest.mark.parametrize("n_elements", [1, 40, 1000])
def test_matrices_of_experts_are_stacked(n_elements: int, tmp_path: Path) -> None:
    planned = Planned(name="0", shape=SHAPE, target="b", stacked=("0", "1", "2"))
    arrays = [np.ascontiguousarray(MERGED[expert, :N_FF]) for expert in range(N_EXPERTS)]
    assert np.array_equal(values(job(tmp_path, planned, *arrays), n_elements), np.stack(arrays))


def test_no_more_than_an_expert_is_read_at_once(tmp_path: Path) -> None:
    planned = Planned(
        name="a", shape=SHAPE, target="b", source_shape=TRANSPOSED.shape, order=OfEach(N_FF, 2 * N_FF), transposed=True
    )
    made = job(tmp_path, planned, TRANSPOSED)
    assert list(row_chunks(made, 1000)) == [(0, N_FF), (N_FF, 2 * N_FF), (2 * N_FF, 3 * N_FF)]


def test_the_expert_that_holds_nan_is_named(tmp_path: Path) -> None:
    planned = Planned(name="0", shape=SHAPE, target="b", stacked=("0", "1", "2"))
    arrays = [np.ascontiguousarray(MERGED[expert, :N_FF]) for expert in range(N_EXPERTS)]
    arrays[2][1, 3] = np.nan
    with pytest.raises(UserError, match=r"tensor 2 in .* holds NaN"):
        values(job(tmp_path, planned, *arrays), 1000)


def test_both_forms_of_a_checkpoint_are_one_file(tmp_path: Path) -> None:
    config = variants()["qwen3moe-bf16"].config
    apart = write_checkpoint(tmp_path / "apart", config, dtype="float32", style="qwen2")
    stored = load_file(apart / "model.safetensors")
    names = [name for name in stored if ".experts." in name]
    merged = {name: array for name, array in stored.items() if name not in names}
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}.mlp.experts"

        def part(name: str, block: str = block) -> np.ndarray:
            return np.stack([stored[f"{block}.{expert}.{name}.weight"] for expert in range(config["num_experts"])])

        merged[f"{block}.gate_up_proj"] = np.concatenate([part("gate_proj"), part("up_proj")], axis=1)
        merged[f"{block}.down_proj"] = part("down_proj")
    save_file(merged, apart.parent / "merged.safetensors")
    made = []
    for name in ("apart", "merged"):
        if name == "merged":
            (apart.parent / "merged.safetensors").replace(apart / "model.safetensors")
        convert(apart, tmp_path / f"{name}.gguf", outtype="f32", pre="qwen2")
        made.append({each.name: each.data for each in gguf.GGUFReader(tmp_path / f"{name}.gguf").tensors})
    assert made[0].keys() == made[1].keys()
    assert all(np.array_equal(made[0][name], made[1][name]) for name in made[0])


def test_the_matrices_of_a_layer_are_written_together(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", variants()["mixtral-bf16"].config, tokenizer="none")
    targets = [each.target for each in open_layout(folder).jobs if "_exps" in each.target]
    assert targets[:3] == [f"blk.0.ffn_{part}_exps.weight" for part in ("gate", "down", "up")]


REFUSED = [
    ("mixtral-bf16", {"num_experts_per_tok": 9}, "num_experts_per_tok = 9 of 8 experts, which are fewer"),
    ("mixtral-bf16", {"num_local_experts": 2000}, "num_local_experts = 2000; llama.cpp takes 1024 at most"),
    ("mixtral-bf16", {"sliding_window": 4096}, "sliding_window = 4096, which llama.cpp does not compute"),
    ("qwen2moe-bf16", {"decoder_sparse_step": 2}, "decoder_sparse_step = 2"),
    ("qwen3moe-bf16", {"mlp_only_layers": [0]}, r"mlp_only_layers = \[0\]"),
    ("qwen3moe-bf16", {"norm_topk_prob": False}, "norm_topk_prob = false"),
    ("olmoe-bf16", {"num_key_value_heads": 2}, "num_key_value_heads = 2; llama.cpp's olmoe needs 4"),
    ("olmoe-bf16", {"clip_qkv": 8.0}, "clip_qkv = 8.0"),
    ("deepseek2-f32", {"q_lora_rank": None}, "no q_lora_rank and 2 layers; llama.cpp's deepseek2"),
    ("deepseek2-f32", {"topk_method": "group_limited_greedy"}, "topk_method ="),
    ("bailingmoe-bf16", {"norm_head": True}, "norm_head = true"),
    ("bailingmoe2-bf16", {"head_dim": 32}, "heads that are not as wide as the model"),
    ("bailingmoe2-bf16", {"num_nextn_predict_layers": 1}, "num_nextn_predict_layers = 1"),
    ("ernie4_5_moe-tied-bf16", {"moe_layer_end_index": 1}, "moe_layer_end_index = 1"),
    ("smallthinker-tied-bf16", {"rope_layout": [0, 1]}, "rope_layout that llama.cpp does not compute"),
    ("smallthinker-windows-f32", {"sliding_window_size": 512}, "sliding_window_size = 512; llama.cpp takes 4096"),
    ("phimoe-f32", {"head_dim": 16}, "2 heads of 16 in a width of"),
    ("afmoe-bf16", {"layer_types": ["full_attention"] * 5}, "layer_types ="),
    ("hunyuan-moe-untied-f32", {"moe_topk": [2, 1]}, r"moe_topk = \[2, 1\]; llama.cpp takes one number"),
    ("phimoe-factors-f16", {"rope_scaling": {"short_mscale": 1.0, "long_mscale": 1.2}}, "short_mscale = 1.0"),
]


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED)
def test_what_llama_cpp_does_not_compute_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        layout_of_shape({**variants()[name].config, **changes}, standin_for=name)
    assert "\n" not in str(refused.value)


def test_the_class_of_deepseek_v3_chooses_by_sigmoid_without_a_setting() -> None:
    config = variants()["deepseek3-transformers5"].config
    assert "scoring_func" not in config
    assert complete_config(find_family("DeepseekV3ForCausalLM"), config)["scoring_func"] == "sigmoid"
