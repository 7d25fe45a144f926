"""LoRA adapters are added to the weights as peft adds them; what would be another sum is refused by its name."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quant.base.errors import UserError
from quant.convert.layout import open_layout
from quant.convert.provenance import inputs_of
from quant.convert.safetensors_file import Tensor
from quant.convert.to_gguf import convert
from quant.gguf_io.floats import convert_floats
from quant.gguf_io.header import open_gguf_header
from quant.quantize.from_checkpoint import checkpoint_writer
from tests.families.gpt2 import config as gpt2_config
from tests.support.adapters import CONFIG, EMBEDDING, LINEAR, PREFIX, Arrays, drawn, factors, write_adapter
from tests.support.checkpoints import make_checkpoint, write_checkpoint
from tests.support.torch_files import rebuilding, torch_file, view_of

Q, DOWN, EMBED = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj", "model.embed_tokens"
SMALL = {"hidden": 32, "layers": 1, "ffn": 64, "vocab": 300}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("tied") / "base", **SMALL)


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("untied") / "base", **SMALL, tie=False, dtype="float16")


def product(tensors: Arrays, module: str, ends: tuple[str, str] = LINEAR) -> np.ndarray:
    return tensors[f"{module}.{ends[1]}"] @ tensors[f"{module}.{ends[0]}"]


def values_of(tensor: Tensor) -> np.ndarray:
    found = convert_floats(tensor.read(0, tensor.n_elements), tensor.read_dtype, "F32")
    return found.reshape(tensor.shape)


def merged_of(base: Path, adapter: Path) -> dict[str, Tensor]:
    return open_layout(base, adapter=adapter).checkpoint.tensors


def plain_of(base: Path) -> dict[str, Tensor]:
    return open_layout(base).checkpoint.tensors


def is_near(tensor: Tensor, expected: np.ndarray) -> bool:
    return bool(np.allclose(values_of(tensor), expected, rtol=1e-6, atol=1e-6))


def refusal_of(base: Path, adapter: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_layout(base, adapter=adapter)
    return str(caught.value)


# --- sums


@pytest.mark.parametrize("is_rank_stabilized", [False, True])
@pytest.mark.parametrize("prefix", [PREFIX, f"{PREFIX}module.", ""])
def test_products_are_scaled_and_added_in_float32(tmp_path, base, is_rank_stabilized, prefix):
    tensors = factors(Q, 32, 32) | factors(DOWN, 32, 64, rank=9)
    adapter = write_adapter(
        tmp_path,
        tensors,
        prefix=prefix,
        use_rslora=is_rank_stabilized,
        rank_pattern={"down_proj": 9},
        alpha_pattern={"^mlp.down_proj": 1, r"mlp\.down_proj$": 3, "proj": 77},
    )
    merged, plain = merged_of(base, adapter), plain_of(base)
    for module, alpha, rank in ((Q, 8, 4), (DOWN, 3, 9)):
        name = f"{module}.weight"
        scale = np.float32(alpha / (math.sqrt(rank) if is_rank_stabilized else rank))
        assert is_near(merged[name], values_of(plain[name]) + product(tensors, module) * scale)
        assert merged[name].dtype == plain[name].dtype
        assert merged[name].read_dtype == "F32"
    assert {name for name in plain if merged[name] != plain[name]} == {f"{Q}.weight", f"{DOWN}.weight"}
    assert open_layout(base, adapter=adapter).checkpoint.notes == (f"{adapter} is merged into 2 matrices",)


@pytest.mark.parametrize("ends", [LINEAR, EMBEDDING])
def test_parts_are_those_of_the_whole(tmp_path, base, ends):
    module, shape = (DOWN, (32, 64)) if ends is LINEAR else (EMBED, (32, 300))
    tensor = merged_of(base, write_adapter(tmp_path, factors(module, *shape, ends=ends)))[f"{module}.weight"]
    whole = tensor.read(0, tensor.n_elements)
    for first, count in ((0, 1), (63, 2), (64, 64), (100, 300), (2047, 1), (0, 0)):
        assert np.allclose(tensor.read(first, count), whole[first : first + count], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("saves_base", [False, True])
def test_an_embedding_has_its_inputs_first_and_may_come_with_its_own_base(tmp_path, base, saves_base):
    tensors = factors(EMBED, 32, 300, ends=EMBEDDING)
    own = {f"{EMBED}.base_layer.weight": drawn(300, 32, seed=2)} if saves_base else {}
    tensor = merged_of(base, write_adapter(tmp_path, tensors | own))[f"{EMBED}.weight"]
    below = next(iter(own.values())) if own else values_of(plain_of(base)[f"{EMBED}.weight"])
    assert is_near(tensor, below + 2 * product(tensors, EMBED, EMBEDDING).T)


def test_a_square_matrix_of_conv1d_is_transposed_whatever_the_config_says(tmp_path):
    base = write_checkpoint(tmp_path / "base", gpt2_config(n_layer=1), dtype="float32", bare=True)
    module, head = "transformer.h.0.attn.c_proj", "transformer.wte"
    tensors = factors(module, 64, 64)
    for says in (False, True):
        merged = merged_of(base, write_adapter(tmp_path / "lora", tensors, fan_in_fan_out=says))
        expected = values_of(plain_of(base)[f"{module}.weight"]) + 2 * product(tensors, module).T
        assert is_near(merged[f"{module}.weight"], expected)
    by_inputs = factors(head, 64, 512, ends=EMBEDDING)
    merged = merged_of(base, write_adapter(tmp_path / "lora", by_inputs))
    expected = values_of(plain_of(base)[f"{head}.weight"]) + 2 * product(by_inputs, head, EMBEDDING).T
    assert is_near(merged[f"{head}.weight"], expected)


@pytest.mark.parametrize("part", ["", "modules_to_save."])
def test_what_is_saved_whole_takes_the_base_s_place(tmp_path, untied, part):
    head, norm = drawn(300, 32), np.full((32,), 2, np.float32)
    adapter = write_adapter(tmp_path, {f"lm_head.{part}weight": head, "model.norm.weight": norm})
    merged = merged_of(untied, adapter)
    assert np.array_equal(values_of(merged["lm_head.weight"]), head)
    assert np.array_equal(values_of(merged["model.norm.weight"]), norm)
    assert open_layout(untied, adapter=adapter).checkpoint.notes[0].endswith("into 0 matrices; 2 tensors are its own")


def test_a_head_of_its_own_unties_the_model(tmp_path, base):
    assert "output.weight" not in {job.target for job in open_layout(base).jobs}
    layout = open_layout(base, adapter=write_adapter(tmp_path, {"lm_head.weight": drawn(300, 32)}))
    assert "output.weight" in {job.target for job in layout.jobs}


def test_a_pickled_adapter_is_read_as_data(tmp_path, base):
    tensors = factors(Q, 32, 32)
    adapter = write_adapter(tmp_path, tensors)
    expected = values_of(merged_of(base, adapter)[f"{Q}.weight"])
    views = {
        f"{PREFIX}{name}": view_of("F32", values.shape, np.ascontiguousarray(values).tobytes())
        for name, values in tensors.items()
    }
    (adapter / "adapter_model.bin").write_bytes(torch_file(rebuilding(views)))
    (adapter / "adapter_model.safetensors").unlink()
    assert np.array_equal(values_of(merged_of(base, adapter)[f"{Q}.weight"]), expected)


# --- files


def test_the_file_is_that_of_the_merged_model(tmp_path):
    tensors = factors(Q, 32, 32) | factors(DOWN, 32, 64)
    for name in ("base", "whole"):
        make_checkpoint(tmp_path / name / "model", **SMALL, dtype="float32")
    whole = tmp_path / "whole" / "model"
    values = load_file(whole / "model.safetensors")
    for module in (Q, DOWN):
        values[f"{module}.weight"] += 2 * product(tensors, module)
    save_file(values, whole / "model.safetensors")
    adapter = write_adapter(tmp_path / "lora", tensors)
    convert(tmp_path / "base" / "model", tmp_path / "ours.gguf", outtype="f32", adapter=adapter)
    convert(whole, tmp_path / "theirs.gguf", outtype="f32")
    ours, theirs = ((tmp_path / f"{name}.gguf").read_bytes() for name in ("ours", "theirs"))
    n_data = sum(4 * math.prod(each.dims) for each in open_gguf_header(tmp_path / "ours.gguf").tensors)
    assert ours[:-n_data] == theirs[:-n_data]
    data = [np.frombuffer(each[-n_data:], np.float32) for each in (ours, theirs)]
    assert np.allclose(data[0], data[1], rtol=1e-6, atol=1e-6)


def test_levels_are_made_of_the_sum(tmp_path, base):
    adapter = write_adapter(tmp_path / "lora", factors(Q, 32, 32))
    made = {}
    for name, chosen in {"merged": adapter, "plain": None}.items():
        with checkpoint_writer(base, adapter=chosen) as writer:
            writer.write(["Q8_0"], lambda level, name=name: tmp_path / f"{name}.gguf")
        made[name] = (tmp_path / f"{name}.gguf").read_bytes()
    assert len(made["merged"]) == len(made["plain"])
    assert made["merged"] != made["plain"]


def test_an_adapter_s_files_are_inputs(tmp_path, base):
    adapter = write_adapter(tmp_path, factors(Q, 32, 32))
    (adapter / "README.md").write_text("")
    names = [each.name for each in inputs_of(base, None, adapter)]
    assert names[-2:] == ["adapter_config.json", "adapter_model.safetensors"]


# --- refusals


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"peft_type": "IA3"}, "has the peft_type IA3"),
        ({"peft_type": None}, "has the peft_type None"),
        ({"peft_type": [[]]}, "has the peft_type of a list"),
        ({"use_dora": True}, "uses DoRA (use_dora)"),
        ({"use_qalora": True}, "uses QALoRA"),
        ({"use_later": True}, "uses what is unknown here (use_later)"),
        ({"lora_bias": True}, "uses biases of LoRA's own"),
        ({"layer_replication": [[0, 1]]}, "uses replicated layers"),
        ({"target_parameters": ["experts"]}, "uses parameters as targets"),
        ({"trainable_token_indices": [1]}, "uses rows of single tokens"),
        ({"alora_invocation_tokens": [1]}, "uses activated LoRA"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = pissa, which changes the base's weights too"),
        ({"init_lora_weights": ["loftq"]}, "changes the base's weights too"),
        ({"alpha_pattern": [1]}, "an alpha_pattern that is no object"),
        ({"alpha_pattern": {"(a+)+$": 1}}, "the alpha_pattern (a+)+$, and only names of modules are matched"),
        ({"alpha_pattern": {"q_proj": "8"}}, "the alpha 8 for"),
        ({"lora_alpha": None}, "the alpha None for"),
        ({"lora_alpha": True}, "the alpha True for"),
        ({"lora_alpha": 1e308}, "the alpha 1e+308 for"),
        ({"lora_alpha": math.nan}, "the alpha nan for"),
    ],
    ids=str,
)
def test_settings_with_which_the_sum_is_another(tmp_path, base, config, says):
    said = refusal_of(base, write_adapter(tmp_path / "lora", factors(Q, 32, 32), **config))
    assert says in said
    assert str(tmp_path / "lora") in said


def test_settings_that_change_nothing(tmp_path, base):
    for config in (
        {"alpha_pattern": None},
        {"init_lora_weights": "gaussian"},
        {"use_dora": False},
        {"loftq_config": {}},
    ):
        assert merged_of(base, write_adapter(tmp_path, factors(Q, 32, 32), **config))


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (factors("model.layers.9.self_attn.q_proj", 32, 32), "which the model does not have"),
        (factors(f"vision.{Q}", 32, 32), "which the model does not have"),
        (factors("lm_head", 300, 32), "which the model ties to its embedding"),
        (factors(Q, 32, 33), "as [32, 33], but the model has [32, 32]"),
        ({f"{EMBED}.weight": ones(301, 32)}, "as [301, 32], but the model has [300, 32]"),
        ({f"{Q}.lora_A.weight": ones(4, 32)}, "no half of a pair"),
        ({f"{Q}.lora_B.weight": ones(32, 4)}, "no half of a pair"),
        (factors(Q, 32, 32) | {f"{Q}.lora_magnitude_vector": ones(32)}, "no half of a pair"),
        (factors(Q, 32, 32) | {f"{Q}.lora_B.bias": ones(32)}, "no half of a pair"),
        ({f"{Q}.lora_A.weight": ones(4, 32), f"{Q}.lora_B.weight": ones(32, 5)}, "have no product"),
        ({f"{Q}.lora_A.weight": ones(4, 32, 1), f"{Q}.lora_B.weight": ones(32, 4)}, "have no product"),
        ({f"{Q}.lora_A.weight": ones(0, 32), f"{Q}.lora_B.weight": ones(32, 0)}, "have no product"),
        ({"model.norm.weight": np.zeros(32, np.int64)}, "is I64"),
        ({f"model.norm.{part}weight": ones(32) for part in ("", "modules_to_save.")}, "twice"),
        ({f"{part}model.norm.weight": ones(32) for part in ("", "module.")}, "several tensors for one"),
        ({}, "no tensor of a language model"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_adapters_that_do_not_fit(tmp_path, base, tensors, says):
    assert says in refusal_of(base, write_adapter(tmp_path, tensors))


def test_a_folder_without_an_adapter(tmp_path, base):
    assert "has no adapter_config.json" in refusal_of(base, tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG))
    assert "has no adapter_model.safetensors" in refusal_of(base, tmp_path)


def test_a_factor_that_is_not_finite_is_refused(tmp_path, base):
    tensors = factors(Q, 32, 32)
    tensors[f"{Q}.lora_A.weight"][0, 0] = np.nan
    with pytest.raises(UserError, match=r"adapter_model\.safetensors adds NaN or infinite values to .*q_proj\.weight"):
        convert(base, tmp_path / "m.gguf", adapter=write_adapter(tmp_path / "lora", tensors))
    assert not (tmp_path / "m.gguf").exists()
