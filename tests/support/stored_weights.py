"""Checkpoints whose matrices are stored quantized: random numbers and scales, in the parts of each method."""

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quant.convert.safetensors_file import read_header

Parts = dict[str, tuple[str, np.ndarray]]  # name -> type in safetensors, and the numbers as a file has them
_WORD = 32  # bits


class Form(NamedTuple):
    """A way to store weights."""

    settings: dict[str, Any]  # of quantization_config
    parts: Callable[..., Parts]  # of a shape, by what follows the name of its module
    in_converter: bool = True  # whether llama.cpp's own converter makes the same file of it
    suffix: str | tuple[str, ...] = ("_proj.weight", ".in_proj_qkv.weight", ".in_proj_z.weight", "lm_head.weight")


def write_tensors(path: Path, tensors: Parts) -> None:
    """Write a safetensors file with the tensors in their order."""
    header, offset = {}, 0
    for name, (dtype, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(np.ascontiguousarray(values).tobytes() for _, values in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def store(plain: Path, folder: Path, form: str, *, seed: int = 0) -> Path:
    """Write a copy of a checkpoint of one file whose projections are stored in a form, and return its folder."""
    source = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for path in plain.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((plain / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": FORMS[form].settings}))
    tensors: Parts = {}
    for tensor in read_header(plain / "model.safetensors"):
        if tensor.name.endswith(FORMS[form].suffix):
            parts = FORMS[form].parts(source, *tensor.shape)
            module = tensor.name.removesuffix(".weight")
            tensors |= {f"{module}{'' if name[0] == '_' else '.'}{name}": part for name, part in parts.items()}
        else:
            tensors[tensor.name] = tensor.dtype, tensor.read(0, tensor.n_elements).reshape(tensor.shape)
    write_tensors(folder / "model.safetensors", tensors)
    return folder


def scales(source: np.random.Generator, *shape: int, dtype: str = "F32") -> tuple[str, np.ndarray]:
    """Return scales that no weight overflows with."""
    values = source.uniform(0.001, 0.02, shape).astype(np.float32)
    if dtype == "BF16":
        return dtype, (values.view(np.uint32) >> 16).astype(np.uint16)
    return dtype, values.astype(np.float16 if dtype == "F16" else np.float32)


def words(source: np.random.Generator, *shape: int) -> tuple[str, np.ndarray]:
    """Return words full of small numbers."""
    return "I32", source.integers(-(1 << 31), 1 << 31, shape).astype(np.int32)


def fp8_bytes(source: np.random.Generator, *shape: int) -> tuple[str, np.ndarray]:
    """Return numbers of E4M3, none of them NaN."""
    codes = source.integers(0, 256, shape).astype(np.uint8)
    return "F8_E4M3", np.where(codes & 127 == 127, np.uint8(0), codes)


def some_bytes(source: np.random.Generator, *shape: int, dtype: str = "U8") -> tuple[str, np.ndarray]:
    """Return bytes."""
    return dtype, source.integers(0, 256, shape).astype(np.uint8)


def _scaled(
    source: np.random.Generator,
    n_out: int,
    n_in: int,
    *,
    shape: Callable[[int, int], tuple[int, ...]],
    scale: str = "weight_scale",
    dtype: str = "F32",
    whole: bool = False,
) -> Parts:
    numbers = some_bytes(source, n_out, n_in, dtype="I8") if whole else fp8_bytes(source, n_out, n_in)
    return {"weight": numbers, scale: scales(source, *shape(n_out, n_in), dtype=dtype)}


def _with_inputs(source: np.random.Generator, n_out: int, n_in: int) -> Parts:
    return _scaled(source, n_out, n_in, shape=_one) | {"input_scale": scales(source)}


def _one(_n_out: int, _n_in: int) -> tuple[int, ...]:
    return ()


def _rows(n_out: int, _n_in: int) -> tuple[int, ...]:
    return n_out, 1


def _blocks(n_out: int, n_in: int) -> tuple[int, int]:
    return -(-n_out // 128), -(-n_in // 128)


def _gptq(
    source: np.random.Generator,
    n_out: int,
    n_in: int,
    *,
    bits: int,
    dtype: str = "F16",
    act_order: bool = False,
    with_groups: bool = True,
) -> Parts:
    n_groups = n_in // 32
    group = np.arange(n_in, dtype=np.int32) // 32
    made = {
        "qweight": words(source, n_in * bits // _WORD, n_out),
        "qzeros": words(source, n_groups, n_out * bits // _WORD),
        "scales": scales(source, n_groups, n_out, dtype=dtype),
    }
    return made | ({"g_idx": ("I32", source.permutation(group) if act_order else group)} if with_groups else {})


def _awq(source: np.random.Generator, n_out: int, n_in: int) -> Parts:
    return {
        "qweight": words(source, n_in, n_out // 8),
        "qzeros": words(source, n_in // 32, n_out // 8),
        "scales": scales(source, n_in // 32, n_out, dtype="F16"),
    }


def _packed(
    source: np.random.Generator, n_out: int, n_in: int, *, bits: int = 4, zeros: bool = False, group: int = 32
) -> Parts:
    made = {
        "weight_packed": words(source, n_out, -(-n_in * bits // _WORD)),
        "weight_scale": scales(source, n_out, n_in // (group or n_in), dtype="BF16"),
        "weight_shape": ("I64", np.array([n_out, n_in])),
    }
    if zeros:
        made["weight_zero_point"] = words(source, -(-n_out * bits // _WORD), n_in // group)
    return made


def _fp4(source: np.random.Generator, n_out: int, n_in: int, *, kind: str) -> Parts:
    numbers = some_bytes(source, n_out, n_in // 2)
    if kind == "mx":
        exponents = source.integers(115, 122, (n_out, n_in // 32)).astype(np.uint8)
        return {"weight_packed": numbers, "weight_scale": ("U8", exponents)}
    scale = "F8_E4M3", source.integers(1, 100, (n_out, n_in // 16)).astype(np.uint8)
    if kind == "modelopt":
        factor = scales(source)
        return {"weight": numbers, "weight_scale": scale, "weight_scale_2": factor, "input_scale": scales(source)}
    return {
        "weight_packed": numbers,
        "weight_scale": scale,
        "weight_global_scale": ("F32", source.uniform(50, 500, 1).astype(np.float32)),
        "input_global_scale": ("F32", source.uniform(50, 500, 1).astype(np.float32)),
    }


def _mxfp4_blocks(source: np.random.Generator, n_experts: int, n_in: int, n_out: int) -> Parts:
    """Return experts as gpt-oss stores them; those in plain types are transposed."""
    shape = n_experts, n_out, n_in // 32
    exponents = source.integers(115, 122, shape).astype(np.uint8)
    return {"_blocks": some_bytes(source, *shape, 16), "_scales": ("U8", exponents)}


def _four_bits(source: np.random.Generator, n_out: int, n_in: int, *, nested: bool, kind: str = "nf4") -> Parts:
    n_blocks = -(-n_out * n_in // 64)
    state: dict[str, Any] = {"quant_type": kind, "blocksize": 64, "dtype": "bfloat16", "shape": [n_out, n_in]}
    made = {
        "weight": some_bytes(source, n_out * n_in // 2, 1),
        "weight.absmax": some_bytes(source, n_blocks) if nested else scales(source, n_blocks),
        "weight.quant_map": ("F32", np.sort(source.uniform(-1, 1, 16)).astype(np.float32)),
    }
    if nested:
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.015625}
        made["weight.nested_absmax"] = scales(source, -(-n_blocks // 256))
        made["weight.nested_quant_map"] = "F32", np.sort(source.uniform(-1, 1, 256)).astype(np.float32)
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    return made | {f"weight.quant_state.bitsandbytes__{kind}": ("U8", text)}


def _llm_int8(source: np.random.Generator, n_out: int, n_in: int) -> Parts:
    return {
        "weight": some_bytes(source, n_out, n_in, dtype="I8"),
        "SCB": scales(source, n_out),
        "weight_format": ("U8", np.zeros((), np.uint8)),
    }


def _compressed(form: str, **scheme: Any) -> dict[str, Any]:
    weights = {"num_bits": 8, "type": "float", "symmetric": True, **scheme}
    group = {"targets": ["Linear"], "weights": weights}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}


_GPTQ = {"quant_method": "gptq", "group_size": 32, "desc_act": False, "sym": False}
_PACK = {"type": "int", "strategy": "group", "group_size": 32}
_NVFP4 = {"quant_algo": "NVFP4"}
_NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True}
_INVERSE = partial(_scaled, scale="weight_scale_inv")
FORMS = {
    "fp8-tensor": Form({"quant_method": "fp8", "activation_scheme": "dynamic"}, partial(_INVERSE, shape=_one)),
    "fp8-row": Form({"quant_method": "fp8"}, partial(_INVERSE, shape=lambda n_out, _: (n_out,))),
    "fp8-block": Form({"quant_method": "fp8", "weight_block_size": [128, 128]}, partial(_INVERSE, shape=_blocks)),
    "fp8-scale": Form({"quant_method": "fp8"}, _with_inputs, in_converter=False),
    "gptq-2": Form({**_GPTQ, "bits": 2}, partial(_gptq, bits=2)),
    "gptq-3": Form({**_GPTQ, "bits": 3}, partial(_gptq, bits=3), in_converter=False),
    "gptq-4": Form({**_GPTQ, "bits": 4}, partial(_gptq, bits=4)),
    "gptq-4-order": Form({**_GPTQ, "bits": 4}, partial(_gptq, bits=4, act_order=True, dtype="BF16")),
    "gptq-4-no-groups": Form({**_GPTQ, "bits": 4}, partial(_gptq, bits=4, with_groups=False), in_converter=False),
    "gptq-8-v2": Form({**_GPTQ, "bits": 8, "checkpoint_format": "gptq_v2"}, partial(_gptq, bits=8, dtype="F32")),
    "awq": Form({"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"}, _awq, in_converter=False),
    "float-row": Form(_compressed("float-quantized", strategy="channel"), partial(_scaled, shape=_rows)),
    "float-block": Form(
        _compressed("float-quantized", strategy="block", block_structure=[128, 128]), partial(_scaled, shape=_blocks)
    ),
    "float-tensor": Form(
        _compressed("naive-quantized", strategy="tensor"), partial(_scaled, shape=lambda *_: (1,)), in_converter=False
    ),
    "int-row": Form(
        _compressed("int-quantized", type="int", strategy="channel"),
        partial(_scaled, shape=_rows, dtype="BF16", whole=True),
    ),
    "pack-4": Form(_compressed("pack-quantized", num_bits=4, **_PACK), _packed),
    "pack-4-zeros": Form(_compressed("pack-quantized", num_bits=4, **_PACK), partial(_packed, zeros=True)),
    "pack-8": Form(_compressed("pack-quantized", num_bits=8, **_PACK), partial(_packed, bits=8)),
    "pack-row": Form(
        _compressed("pack-quantized", type="int", num_bits=4, strategy="channel", group_size=None),
        partial(_packed, group=0),
        in_converter=False,
    ),
    "modelopt-fp8": Form({"quant_method": "modelopt", "quant_algo": "FP8"}, _with_inputs),
    "modelopt-nvfp4": Form({"quant_method": "modelopt", **_NVFP4}, partial(_fp4, kind="modelopt"), in_converter=False),
    "modelopt-nvfp4-a16": Form(
        {"quant_method": "modelopt", "quant_algo": "W4A16_NVFP4", "quantized_layers": {"model.layers.0.mlp": _NVFP4}},
        partial(_fp4, kind="modelopt"),
        in_converter=False,
    ),
    "nvfp4": Form(
        _compressed("nvfp4-pack-quantized", num_bits=4, group_size=16), partial(_fp4, kind="nv"), in_converter=False
    ),
    "mxfp4": Form(
        _compressed("mxfp4-pack-quantized", num_bits=4, group_size=32), partial(_fp4, kind="mx"), in_converter=False
    ),
    "nf4": Form(_NF4, partial(_four_bits, nested=False), in_converter=False),
    "fp4-nested": Form(_NF4, partial(_four_bits, nested=True, kind="fp4"), in_converter=False),
    "llm-int8": Form({"load_in_8bit": True}, _llm_int8, in_converter=False),
    "mxfp4-experts": Form({"quant_method": "mxfp4"}, _mxfp4_blocks, in_converter=False, suffix="_proj"),
}
