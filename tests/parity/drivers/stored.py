"""Store matrices with bitsandbytes and compressed-tensors, beside the values that they read from them.

Usage: stored.py FOLDER; a checkpoint of each form is made in it, with the values in its expected.st.
"""

import json
import sys
from pathlib import Path

import bitsandbytes.functional as bnb
import torch
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize
from safetensors.torch import save_file

root = Path(sys.argv[1])
torch.manual_seed(0)
SHAPES = {"m.a": (96, 160), "m.b": (33, 192), "m.c": (520, 256)}


def save(name, settings, tensors, expected):
    """Write a checkpoint."""
    folder = root / name
    folder.mkdir(parents=True)
    config = {"architectures": ["LlamaForCausalLM"], "quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "model.safetensors")
    save_file({key: value.contiguous() for key, value in expected.items()}, folder / "expected.st")


def four_bits(kind, nested, storage, block):
    """Return the tensors of NF4 or FP4, and their values in float32."""
    tensors, expected = {}, {}
    for name, shape in SHAPES.items():
        weight = (torch.randn(shape) * 0.05).to(torch.bfloat16)
        packed, state = bnb.quantize_4bit(
            weight, blocksize=block, compress_statistics=nested, quant_type=kind, quant_storage=storage
        )
        tensors[f"{name}.weight"] = packed
        tensors |= {f"{name}.weight.{key}": value for key, value in state.as_dict(packed=True).items()}
        state.dtype = torch.float32
        expected[f"{name}.weight"] = bnb.dequantize_4bit(packed, state)
    return tensors, expected


def eight_bits():
    """Return the tensors of LLM.int8, and their values in float32."""
    tensors, expected = {}, {}
    for name, shape in SHAPES.items():
        numbers, scales, _ = bnb.int8_vectorwise_quant((torch.randn(shape) * 0.05).half())
        tensors |= {f"{name}.weight": numbers, f"{name}.SCB": scales}
        tensors[f"{name}.weight_format"] = torch.tensor(0, dtype=torch.uint8)
        expected[f"{name}.weight"] = bnb.int8_vectorwise_dequant(numbers, scales)
    return tensors, expected


for kind in ("nf4", "fp4"):
    for nested in (False, True):
        for storage, block in ((torch.uint8, 64), (torch.bfloat16, 128)):
            name = f"bitsandbytes {kind}{', nested' if nested else ''}, {storage}, blocks of {block}"
            save(name, {"quant_method": "bitsandbytes"}, *four_bits(kind, nested, storage, block))
save("bitsandbytes LLM.int8", {"quant_method": "bitsandbytes", "load_in_8bit": True}, *eight_bits())


def compressed(bits, symmetric, group, order):
    """Return the tensors of whole numbers packed into words, and their values with the scales in float32."""
    tensors, expected = {}, {}
    half = 1 << (bits - 1)
    settings = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "group", "group_size": group}
    if group is None:
        settings["strategy"] = "channel"
    for name, (n_out, n_in) in SHAPES.items():
        n_groups = n_in // (group or n_in)
        numbers = torch.randint(-half, half, (n_out, n_in), dtype=torch.int8)
        scale = (torch.rand(n_out, n_groups) * 0.02 + 0.001).to(torch.bfloat16)
        zero = None if symmetric else torch.randint(-half, half, (n_out, n_groups), dtype=torch.int8)
        g_idx = torch.arange(n_in, dtype=torch.int32) // (group or n_in)
        g_idx = g_idx[torch.randperm(n_in)] if order else torch.full((n_in,), -1, dtype=torch.int32)
        packed = pack_to_int32(numbers, bits)
        tensors |= {f"{name}.weight_packed": packed, f"{name}.weight_scale": scale}
        tensors[f"{name}.weight_shape"] = torch.tensor([n_out, n_in])
        if order is not None:
            tensors[f"{name}.weight_g_idx"] = g_idx
        if zero is not None:
            tensors[f"{name}.weight_zero_point"] = pack_to_int32(zero, bits, packed_dim=0)
        # Ordered by activations, columns are brought into the order of their groups, and back.
        columns = torch.argsort(g_idx, stable=True)
        values = dequantize(
            x_q=unpack_from_int32(packed, bits, torch.Size((n_out, n_in)))[:, columns],
            scale=scale.float(),
            zero_point=zero,
            args=QuantizationArgs(**settings),
            dtype=torch.float32,
        )
        expected[f"{name}.weight"] = values[:, torch.argsort(columns)]
    config = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": settings}}, "format": "pack-quantized"}
    return {"quant_method": "compressed-tensors", **config}, tensors, expected


def of_bytes(form, strategy, kind):
    """Return the tensors of a byte per number, and their values with the scales in float32."""
    tensors, expected = {}, {}
    settings = {"num_bits": 8, "type": kind, "symmetric": kind == "float", "strategy": strategy}
    settings |= {"group_size": 32} if strategy == "group" else {}
    settings |= {"block_structure": [128, 128]} if strategy == "block" else {}
    for name, (n_out, n_in) in SHAPES.items():
        shape = {
            "tensor": (1,), "channel": (n_out, 1), "group": (n_out, n_in // 32),
            "block": (-(-n_out // 128), -(-n_in // 128)),
        }[strategy]  # fmt: skip
        if strategy == "block" and (n_out % 128 or n_in % 128):
            continue
        scale = (torch.rand(shape) * 0.02 + 0.001).to(torch.bfloat16)
        numbers, zero = (torch.randn(n_out, n_in) * 40).clamp(-400, 400).to(torch.float8_e4m3fn), None
        if kind == "int":
            numbers = torch.randint(-128, 128, (n_out, n_in), dtype=torch.int8)
            zero = torch.randint(-128, 128, shape, dtype=torch.int8)
            tensors[f"{name}.weight_zero_point"] = zero
        tensors |= {f"{name}.weight": numbers, f"{name}.weight_scale": scale}
        expected[f"{name}.weight"] = dequantize(
            x_q=numbers, scale=scale.float(), zero_point=zero, args=QuantizationArgs(**settings), dtype=torch.float32
        )
    config = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": settings}}, "format": form}
    return {"quant_method": "compressed-tensors", **config}, tensors, expected


def of_four_bits(form):
    """Return the tensors of FP4, and their values."""
    tensors, expected = {}, {}
    settings = {"num_bits": 4, "type": "float", "symmetric": True, "group_size": 32 if form[0] == "m" else 16}
    for name, (n_out, n_in) in SHAPES.items():
        packed = torch.randint(0, 256, (n_out, n_in // 2), dtype=torch.uint8)
        values = unpack_fp4_from_uint8(packed, n_out, n_in, torch.float32)
        if form[0] == "m":
            scale = torch.randint(110, 130, (n_out, n_in // 32), dtype=torch.uint8)
            values *= torch.exp2(scale.float() - 127).repeat_interleave(32, dim=1)
        else:
            scale, factor = (torch.rand(n_out, n_in // 16) * 400).to(torch.float8_e4m3fn), torch.rand(1) * 1000 + 1
            values = values * scale.float().repeat_interleave(16, dim=1) * (1 / factor)
            tensors[f"{name}.weight_global_scale"] = factor
        tensors |= {f"{name}.weight_packed": packed, f"{name}.weight_scale": scale}
        expected[f"{name}.weight"] = values
    config = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": settings}}, "format": form}
    return {"quant_method": "compressed-tensors", **config}, tensors, expected


for form in ("nvfp4-pack-quantized", "mxfp4-pack-quantized"):
    save(f"compressed-tensors {form}", *of_four_bits(form))
for bits in (4, 8):
    for symmetric in (True, False):
        for group, order in ((32, None), (32, False), (32, True), (None, None)):
            of_order = {None: "", False: ", in order", True: ", ordered by activations"}[order]
            what = (
                f"int{bits}, {'' if symmetric else 'a'}symmetric, {'channel' if group is None else 'group'}{of_order}"
            )
            if not (order and group is None):
                save(f"compressed-tensors {what}", *compressed(bits, symmetric, group, order))
for form, strategy, kind in (
    ("naive-quantized", "tensor", "float"),
    ("float-quantized", "channel", "float"),
    ("float-quantized", "group", "float"),
    ("int-quantized", "channel", "int"),
    ("int-quantized", "group", "int"),
):
    save(f"compressed-tensors {form}, {strategy}", *of_bytes(form, strategy, kind))
