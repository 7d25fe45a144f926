"""Weights that are stored quantized: what is read of their parts, and what is refused of hostile ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quant.base.errors import UserError
from quant.convert.checkpoint import open_checkpoint
from quant.convert.safetensors_file import Tensor
from quant.convert.stored.floats import E2M1, to_f32, unpack_bits
from quant.convert.stored.fp4 import Fp4
from quant.convert.stored.methods import METHODS
from quant.convert.stored.parts import StoredTensor
from tests.support.stored_weights import FORMS, Parts, write_tensors

N_OUT, N_IN = 64, 96


def _parts(form: str) -> Parts:
    return FORMS[form].parts(np.random.default_rng(0), N_OUT, N_IN)


def _checkpoint(folder: Path, parts: Parts, settings: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(config))
    write_tensors(folder / "model.safetensors", {f"m.{name}": part for name, part in parts.items()})
    return folder


def _weight(folder: Path, form: str, parts: Parts | None = None, **settings: Any) -> Tensor:
    found = open_checkpoint(_checkpoint(folder, parts or _parts(form), FORMS[form].settings | settings))
    assert list(found.tensors) == ["m.weight"]
    return found.tensors["m.weight"]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "mxfp4-experts"])
def test_every_form_is_read_as_one_weight_in_any_piece(tmp_path, form):
    tensor = _weight(tmp_path, form)
    whole = tensor.read(0, tensor.n_elements)
    assert (tensor.shape, tensor.read_dtype, whole.dtype) == ((N_OUT, N_IN), "F32", np.float32)
    assert np.isfinite(whole).all()
    assert len(np.unique(whole)) > 30
    for first, count in ((0, 0), (1, 1), (N_IN - 1, 2), (31 * N_IN + 5, 3 * N_IN), (tensor.n_elements - 7, 7)):
        assert np.array_equal(tensor.read(first, count), whole[first : first + count])


def test_all_methods_have_a_form():
    named = {form.settings.get("quant_method", "bitsandbytes") for form in FORMS.values()}
    assert named == set(METHODS)


def test_blocks_of_experts_are_a_weight_with_the_inputs_in_the_last_dimension(tmp_path):
    parts = FORMS["mxfp4-experts"].parts(np.random.default_rng(0), 2, 64, 3)
    folder = _checkpoint(tmp_path, {f"experts{name}": part for name, part in parts.items()}, {"quant_method": "mxfp4"})
    tensor = open_checkpoint(folder).tensors["m.experts"]
    code, exponent = int(parts["_blocks"][1][1, 2, 1, 15]) >> 4, int(parts["_scales"][1][1, 2, 1])
    assert (tensor.shape, tensor.read(2 * 3 * 64 - 1, 1)[0]) == ((2, 3, 64), E2M1[code] * 2.0 ** (exponent - 127))


def test_blocks_turn_the_numbers_of_a_negative_scale_and_move_whole_groups(tmp_path):
    codes = np.arange(64, dtype=np.uint8) % 16
    parts: Parts = {
        "weight": ("U8", (codes[0::2] | codes[1::2] << 4)[None]),
        "weight_scale": ("F8_E4M3", np.array([[0x38, 0xB8, 0x40, 0x41]], np.uint8)),
        "weight_scale_2": ("F32", np.ones((), np.float32)),
    }
    tensor = open_checkpoint(_checkpoint(tmp_path, parts, {"quant_method": "modelopt"})).tensors["m.weight"]
    assert isinstance(tensor, StoredTensor)
    assert isinstance(tensor.weight, Fp4)
    assert tensor.weight.ggml_type == "nvfp4"
    block = tensor.weight.blocks(0, 1)[0]
    assert block[:4].tolist() == [0x38, 0x38, 0x40, 0x41]
    assert block[4:12].tolist() == [low | low + 8 << 4 for low in range(8)]
    assert block[12:20].tolist() == [low + 8 | low << 4 for low in range(8)]
    moved = tensor.weight.blocks(0, 1, np.roll(np.arange(64), 16))[0]
    assert moved[:4].tolist() == [0x41, 0x38, 0x38, 0x40]
    assert moved[20:28].tolist() == block[12:20].tolist()


@pytest.mark.parametrize(
    ("layers", "wide"),
    [
        (None, True),
        ({"language_model.m": {"quant_algo": "NVFP4"}}, False),
        ({"m": 5, "other": {"quant_algo": "NVFP4"}}, True),
    ],
)
def test_inputs_stay_wide_where_modelopt_says_so_of_a_module_or_of_all(tmp_path, layers, wide):
    folder = _checkpoint(tmp_path, _parts("modelopt-nvfp4"), {"quant_method": "modelopt"})
    quantization = {"quant_algo": "W4A16_NVFP4", "quantized_layers": layers}
    (folder / "hf_quant_config.json").write_text(json.dumps({"quantization": quantization}))
    tensor = open_checkpoint(folder).tensors["m.weight"]
    assert isinstance(tensor, StoredTensor)
    assert isinstance(tensor.weight, Fp4)
    assert (tensor.weight.wide_inputs, tensor.weight.ggml_type) == (wide, None)  # rows of 96 are no whole blocks


def test_small_floats_have_the_values_of_their_specifications():
    codes = np.array([0x38, 0x7E, 0x01, 0x08, 0xB8, 0x7F], np.uint8)
    assert to_f32(codes, "F8_E4M3").tolist()[:5] == [1, 448, 2**-9, 2**-6, -1]
    assert np.isnan(to_f32(codes, "F8_E4M3")[5])
    assert to_f32(np.array([0x3C, 0x7B], np.uint8), "F8_E5M2").tolist() == [1, 57344]
    assert to_f32(np.array([127, 0, 254], np.uint8), "F8_E8M0").tolist() == [1, 2.0**-127, 2.0**127]
    assert E2M1[[1, 7, 9, 15]].tolist() == [0.5, 6, -0.5, -6]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_small_numbers_follow_each_other_from_the_lowest_bit(bits):
    words = np.random.default_rng(bits).integers(0, 1 << 32, (2, 12)).astype(np.uint32)
    for row, found in zip(words, unpack_bits(words, bits), strict=True):
        stream = int.from_bytes(row.astype("<u4").tobytes(), "little")
        assert found.tolist() == [stream >> bits * place & (1 << bits) - 1 for place in range(12 * 32 // bits)]


@pytest.mark.parametrize(("form", "row", "column"), [("gptq-4", 5, 40), ("gptq-4-order", 63, 95), ("awq", 9, 33)])
def test_a_number_minus_its_zero_point_times_its_scale(tmp_path, form, row, column):
    parts = {name: values for name, (_, values) in _parts(form).items()}
    in_words = parts["qweight"].view(np.uint32)
    group = int(parts["g_idx"][column]) if "g_idx" in parts else column // 32
    zeros = parts["qzeros"].view(np.uint32)[group, row // 8]
    if form == "awq":
        place = 4 * [0, 4, 1, 5, 2, 6, 3, 7][row % 8]
        number, zero = (int(word) >> place & 15 for word in (in_words[column, row // 8], zeros))
    else:
        number, zero = int(in_words[column // 8, row]) >> 4 * (column % 8) & 15, (int(zeros) >> 4 * (row % 8) & 15) + 1
    scale = parts["scales"][group, row]
    if scale.dtype == np.uint16:
        scale = np.uint32(int(scale) << 16).view(np.float32)
    (found,) = _weight(tmp_path, form).read(row * N_IN + column, 1)
    assert found == np.float32(number - zero) * np.float32(scale)


def test_four_bits_of_bitsandbytes_are_a_table_and_a_scale_that_may_be_quantized(tmp_path):
    parts = {name: values for name, (_, values) in _parts("fp4-nested").items()}
    element = 1001
    code = int(parts["weight"][element // 2, 0]) & 15
    block = element // 64
    scale = parts["weight.nested_quant_map"][parts["weight.absmax"][block]] * parts["weight.nested_absmax"][0]
    expected = parts["weight.quant_map"][code] * (scale + np.float32(0.015625))
    assert _weight(tmp_path, "fp4-nested").read(element, 1).tolist() == [expected]


def test_blocks_that_do_not_divide_a_weight_are_cut(tmp_path):
    parts = {"weight": ("F8_E4M3", np.full((3, 5), 0x38, np.uint8))}
    scale = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    folder = _checkpoint(
        tmp_path,
        parts | {"weight_scale_inv": ("F32", scale)},
        {"quant_method": "fp8", "weight_block_size": [2, 2]},
    )
    values = open_checkpoint(folder).tensors["m.weight"].read(0, 15).reshape(3, 5)
    assert values.tolist() == [[1, 1, 2, 2, 3], [1, 1, 2, 2, 3], [4, 4, 5, 5, 6]]


def test_scales_of_stacked_experts_are_those_of_each(tmp_path):
    parts: Parts = {
        "weight": ("F8_E4M3", np.full((2, 3, 2), 0x38, np.uint8)),
        "weight_scale": ("F32", np.array([[[1], [2], [3]], [[4], [5], [6]]], np.float32)),
    }
    tensor = open_checkpoint(_checkpoint(tmp_path, parts, {"quant_method": "fp8"})).tensors["m.weight"]
    assert tensor.read(4, 6).tolist() == [3, 3, 4, 4, 5, 5]


def test_settings_of_modelopt_may_be_in_a_file_of_their_own(tmp_path):
    folder = _checkpoint(tmp_path, _parts("modelopt-nvfp4"), None)
    (folder / "hf_quant_config.json").write_text('{"producer": {"name": "modelopt"}}')
    assert open_checkpoint(folder).tensors["m.weight"].shape == (N_OUT, N_IN)


def _zeros(dtype: str, *shape: int) -> tuple[str, np.ndarray]:
    kinds = {"I32": np.int32, "F32": np.float32, "F16": np.float16, "U8": np.uint8, "I8": np.int8, "I64": np.int64}
    return dtype, np.zeros(shape, kinds[dtype])


def _state(**changes: Any) -> tuple[str, np.ndarray]:
    state = {"blocksize": 64, "shape": [N_OUT, N_IN], **changes}
    return "U8", np.frombuffer(json.dumps(state).encode(), np.uint8)


NF4 = "weight.quant_state.bitsandbytes__nf4"
HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    ("fp8-block", {"weight_scale_inv": _zeros("F32", 2, 1)}, "one for each"),
    ("fp8-block", {"weight_scale_inv": _zeros("F32", 0, 1)}, "is empty"),
    ("fp8-row", {"weight_scale_inv": _zeros("F32", N_OUT + 1)}, "no scale per tensor or row"),
    ("fp8-row", {"weight_scale_inv": _zeros("I32", N_OUT)}, "is I32, not"),
    ("fp8-row", {"weight": _zeros("U8", N_OUT, N_IN)}, "is U8, not F8_E4M3"),
    ("gptq-4", {"scales": None}, "lacks m.scales"),
    ("gptq-4", {"scales": _zeros("F16", 0, N_OUT)}, "is empty"),
    ("gptq-4", {"scales": _zeros("F16", 3, N_OUT + 8)}, "not [?, 64]"),
    ("gptq-4", {"qzeros": _zeros("I32", 3, 9)}, "not [3, 8]"),
    ("gptq-4", {"g_idx": _zeros("I32", N_IN + 1)}, "not [96]"),
    ("gptq-4", {"qweight": _zeros("I32", 1, 2, 3)}, "not [?, ?]"),
    ("gptq-3", {"qweight": _zeros("I32", 8, N_OUT)}, "no whole rows of 3 bits"),
    ("gptq-4-no-groups", {"scales": _zeros("F16", 2, N_OUT), "qzeros": _zeros("I32", 2, 8)}, "not [3, 64]"),
    ("awq", {"scales": _zeros("F16", 5, N_OUT), "qzeros": _zeros("I32", 5, 8)}, "no whole groups"),
    ("awq", {"qzeros": _zeros("I32", 3, 7)}, "not [3, 8]"),
    ("pack-4", {"weight_shape": ("I64", np.array([N_OUT, 1 << 40]))}, "which is not [64, 1099511627776]"),
    ("pack-4", {"weight_shape": ("I64", np.array([N_OUT, -1]))}, "which is not [64, -1]"),
    ("pack-4", {"weight_shape": ("I64", np.array([1, 2, 3]))}, "not [2]"),
    ("pack-4", {"weight_scale": _zeros("F32", N_OUT, 2)}, "one for each [1, 32]"),
    ("pack-4-zeros", {"weight_zero_point": _zeros("I32", 9, 3)}, "not [8, 3]"),
    ("nvfp4", {"weight_scale": ("F8_E4M3", np.ones((N_OUT, 5), np.uint8))}, "one for each [16]"),
    ("nvfp4", {"weight_global_scale": _zeros("F32", 2)}, "not one number"),
    ("nvfp4", {"weight_packed": _zeros("U8", N_OUT)}, "is no matrix"),
    ("mxfp4", {"weight_scale": None}, "lacks m.weight_scale"),
    ("nf4", {NF4: ("U8", np.frombuffer(b"{", np.uint8))}, "no state of a quantization"),
    ("nf4", {NF4: ("U8", np.zeros(5000, np.uint8))}, "more than a quantization's state"),
    ("nf4", {NF4: _state(shape=[N_OUT, N_IN + 2])}, "which are not [64, 98] of 4 bits"),
    ("nf4", {NF4: _state(shape=[1 << 39, 1 << 39])}, "of 4 bits"),
    ("nf4", {NF4: _state(shape=[0, 5])}, "no state of a quantization"),
    ("nf4", {NF4: _state(blocksize=0)}, "has blocks of 0"),
    ("nf4", {NF4: _state(blocksize=1 << 62)}, "has blocks of"),
    ("nf4", {NF4: _state(nested_blocksize=256)}, "is F32, not U8"),
    ("nf4", {"weight.absmax": _zeros("F32", 95)}, "not [96]"),
    ("nf4", {"weight.quant_map": _zeros("F32", 17)}, "not [16]"),
    ("nf4", {"weight.absmax": None}, "lacks m.weight.absmax"),
    ("llm-int8", {"SCB": _zeros("F32", N_OUT - 1)}, "not one scale for each row"),
    ("llm-int8", {"weight_format": ("U8", np.ones((), np.uint8))}, "order of an accelerator"),
]


@pytest.mark.parametrize(("form", "changes", "words"), HOSTILE)
def test_parts_that_do_not_fit_are_named_before_anything_is_read(tmp_path, form, changes, words):
    parts = {name: part for name, part in {**_parts(form), **changes}.items() if part is not None}
    assert words in _refusal(lambda: _weight(tmp_path, form, parts))


@pytest.mark.parametrize(
    ("form", "settings", "words"),
    [
        ("fp8-block", {"weight_block_size": [0, 128]}, "blocks of [0, 128]"),
        ("fp8-block", {"weight_block_size": "128"}, "blocks of '128'"),
        ("gptq-4", {"bits": 5}, "bits = 5, not one of 2, 3, 4, 8"),
        ("gptq-4", {"bits": True}, "bits = True"),
        ("gptq-4", {"checkpoint_format": "marlin"}, "GPTQ in the form marlin"),
        ("gptq-4", {"is_marlin_format": True}, "GPTQ in the form marlin"),
        ("gptq-4-no-groups", {"group_size": 0}, "group_size = 0"),
        ("awq", {"version": "gemv"}, "AWQ gemv"),
        ("pack-4", {"format": "marlin-24"}, "the format marlin-24"),
        ("pack-4", {"config_groups": {"a": 5}}, "without config_groups"),
        ("pack-4", {"config_groups": {"a": {"weights": {"num_bits": 3, "group_size": 32}}}}, "of 2 or 4 or 8 bits"),
        ("pack-4", {"config_groups": {"a": {"weights": {"num_bits": 4, "group_size": -7}}}}, "group_size = -7"),
        ("pack-4", {"transform_config": {"R1": {}}}, "transforms"),
    ],
)
def test_settings_of_a_form_that_is_not_read_are_named(tmp_path, form, settings, words):
    assert words in _refusal(lambda: _weight(tmp_path, form, **settings))


@pytest.mark.parametrize("form", ["gptq-4", "pack-4"])
@pytest.mark.parametrize("group", [3, -2])
def test_a_group_that_is_not_there_is_refused_when_it_is_read(tmp_path, form, group):
    name = "g_idx" if form == "gptq-4" else "weight_g_idx"
    parts = _parts(form) | {name: ("I32", np.full(N_IN, group, np.int32))}
    tensor = _weight(tmp_path, form, parts)
    assert "names a group that is none of 3" in _refusal(lambda: tensor.read(0, 1))


@pytest.mark.parametrize("form", ["gptq-4", "fp8-row"])
def test_a_file_that_ends_while_it_is_read_is_named(tmp_path, form):
    tensor = _weight(tmp_path, form)
    tensor.path.write_bytes(tensor.path.read_bytes()[:2000])
    assert "ended while" in _refusal(lambda: tensor.read(0, tensor.n_elements))


@pytest.mark.parametrize("method", ["hqq", "aqlm", "eetq", "quanto", "torchao", "vptq", "higgs", "spqr", "quark"])
def test_a_method_that_is_not_read_is_refused_by_its_name(tmp_path, method):
    folder = _checkpoint(tmp_path, {"W_q": _zeros("U8", 4, 4)}, {"quant_method": method})
    said = _refusal(lambda: open_checkpoint(folder))
    assert f"quantized already ({method}); use the checkpoint that it was made from" in said
    assert "gptq" in said


def _refusal(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    said = str(caught.value)
    assert said.isprintable()
    return said
