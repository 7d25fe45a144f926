"""Weights that are stored quantized, against llama.cpp's converter, bitsandbytes, compressed-tensors and the formulas.

What llama.cpp's converter reads must make the same file, also where it keeps NVFP4 and gpt-oss's MXFP4 as they are. It
keeps NVFP4 also where llama.cpp does not multiply by the factors; there the values must be the same. What
llama-quantize makes of a file with MXFP4 must be made straight from the checkpoint too. What the two packages wrote
must be read as they read it, bit for bit in float32. The rest is packed here by the published formulas.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

from quant.convert.checkpoint import open_checkpoint
from quant.convert.safetensors_file import read_header
from quant.convert.to_gguf import convert
from quant.quantize.from_checkpoint import checkpoint_writer
from tests.families import gpt_oss, qwen3moe, qwen35
from tests.parity.files import OUTTYPES, differing
from tests.parity.oracle import Oracle, run
from tests.support.checkpoints import decoder_config, write_checkpoint
from tests.support.stored_weights import FORMS, Parts, store, write_tensors

# Rows and columns that no block of 128 divides, heads whose rows are reordered, and biases.
_SHAPE: dict[str, Any] = {"hidden": 192, "heads": 3, "kv_heads": 1, "ffn": 320}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# What is stored: config.json, how the weights and the tokenizer are written, and the pre-tokenizer.
_PLAIN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "llama-f16": (decoder_config(**_SHAPE), {"dtype": "float16"}, "gpt-2"),
    "qwen2-bf16": (decoder_config("Qwen2ForCausalLM", "qwen2", **_SHAPE), {"style": "qwen2"}, "qwen2"),
    "gpt_oss": (gpt_oss.config(), {"style": "gpt-4o"}, "gpt-4o"),
    "llama3-bf16": (decoder_config(**_SHAPE, rope_scaling=_LLAMA3), {"prefix": "language_model."}, "gpt-2"),
    "qwen3-f32": (
        decoder_config("Qwen3ForCausalLM", "qwen3", **_SHAPE, head_dim=64, tie=False),
        {"style": "qwen2", "dtype": "float32"},
        "qwen2",
    ),
    "qwen35": (qwen35.config() | {"linear_num_value_heads": 4}, {"style": "qwen35"}, "qwen35"),
    "qwen3moe": (qwen3moe.config() | {"moe_intermediate_size": 64}, {"style": "qwen2"}, "qwen2"),
}
_ALL = tuple(name for name, form in FORMS.items() if form.in_converter)
_DEQUANTIZED = {"llama-f16": _ALL, "qwen2-bf16": _ALL, "qwen3moe": ("fp8-block", "gptq-4", "pack-4-zeros")}
# Which llama.cpp's converter writes as they are.
_KEPT = {
    "modelopt-nvfp4": ("llama-f16", "llama3-bf16", "qwen3-f32", "qwen3moe", "qwen35"),
    "modelopt-nvfp4-a16": ("llama-f16", "qwen3moe"),
    "nvfp4": ("llama-f16", "qwen3-f32", "qwen3moe"),
    "mxfp4-experts": ("gpt_oss",),
}
_KEPT_BY_IT_ALONE = ("nvfp4", "qwen2-bf16", "f32")
Finding = dict[str, Any]


def compare_stored(oracle: Oracle) -> tuple[bool, list[Finding]]:
    """Compare converted files, and the weights of what the packages and the formulas stored."""
    print("quantized checkpoints against llama.cpp's converter, the packages that wrote them, and their formulas")
    folder = oracle.work / "stored"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    findings = []
    stages = (
        _formulas(folder / "formulas"),
        _packages(oracle, folder / "packages"),
        _files(oracle, folder),
        _level(oracle, folder),
    )
    for stage in stages:
        for finding in stage:
            print(f"  {finding['what']:44} {'; '.join(finding['differences'][:5]) or 'equal'}", flush=True)
            findings.append(finding)
    return not any(finding["differences"] for finding in findings), findings


def _files(oracle: Oracle, folder: Path) -> Iterator[Finding]:
    """Convert a checkpoint of each form that llama.cpp's converter reads with both, to every type."""
    plain = {
        name: write_checkpoint(folder / "plain" / name, config, **form) for name, (config, form, _) in _PLAIN.items()
    }
    cases = [(base, form, outtype) for base in plain for form in _DEQUANTIZED.get(base, ()) for outtype in OUTTYPES]
    cases += [(base, form, outtype) for form, bases in _KEPT.items() for base in bases for outtype in OUTTYPES]
    form, base, outtype = _KEPT_BY_IT_ALONE
    cases.append((base, form, outtype))
    pairs = dict.fromkeys((base, form) for base, form, _ in cases)
    stored = {(base, form): store(plain[base], folder / form / base, form) for base, form in pairs}
    theirs = {case: folder / case[1] / f"{case[0]}-{case[2]}-theirs.gguf" for case in cases}
    jobs = [
        {"pre": _PLAIN[base][2], "checkpoint": str(stored[base, form]), "target": str(path), "outtype": outtype}
        for (base, form, outtype), path in theirs.items()
    ]
    failed = oracle.convert(jobs)
    for (base, form, outtype), their in theirs.items():
        ours = their.with_name(their.name.replace("theirs", "ours"))
        convert(stored[base, form], ours, outtype=outtype, pre=_PLAIN[base][2])
        if why := failed.get(str(their)):
            differences = [why]
        else:
            is_kept_by_it_alone = (form, base, outtype) == _KEPT_BY_IT_ALONE
            differences = _differing_values(ours, their) if is_kept_by_it_alone else differing(ours, their)[0]
        yield {"what": f"{form}, {base}, {outtype}", "differences": differences}


def _level(oracle: Oracle, folder: Path) -> Iterator[Finding]:
    """Quantize the kept file of gpt-oss to the level of its experts, and its checkpoint straight to it."""
    form, base, level = "mxfp4-experts", "gpt_oss", "MXFP4_MOE"
    theirs, ours = (folder / form / f"{base}-{level}-{side}.gguf" for side in ("theirs", "ours"))
    kept = folder / form / f"{base}-bf16-theirs.gguf"
    run([str(oracle.llama_quantize), str(kept), str(theirs), level], quiet=True)
    with checkpoint_writer(folder / form / base, pre=_PLAIN[base][2]) as writer:
        writer.write([level], lambda _: ours)
    found, expected = ({each.name: each for each in GGUFReader(path).tensors} for path in (ours, theirs))
    differences = [f"{name} only in one" for name in sorted(found.keys() ^ expected.keys())]
    for name in sorted(found.keys() & expected.keys()):
        one, other = found[name], expected[name]
        if one.tensor_type != other.tensor_type or one.data.tobytes() != other.data.tobytes():
            differences.append(name)
    yield {"what": f"{form}, {base}, straight to {level}", "differences": differences}


def _differing_values(ours: Path, theirs: Path) -> list[str]:
    """Return the tensors of which llama.cpp would compute other values."""
    found = {tensor.name: tensor for tensor in GGUFReader(theirs).tensors}
    differences = []
    for tensor in GGUFReader(ours).tensors:
        expected = dequantize(found[tensor.name].data, found[tensor.name].tensor_type)
        if (factor := found.get(tensor.name.replace(".weight", ".scale"))) is not None and factor.name != tensor.name:
            expected = expected * factor.data[0]
        if not np.array_equal(tensor.data, expected.astype(np.float32)):
            differences.append(tensor.name)
    return differences


def _packages(oracle: Oracle, folder: Path) -> Iterator[Finding]:
    """Read what bitsandbytes and compressed-tensors wrote, and compare it with what they read."""
    driver = Path(__file__).parent / "drivers" / "stored.py"
    run([str(oracle.python_stored), str(driver), str(folder)], quiet=True, PYTHONPATH="")
    for checkpoint in sorted(folder.iterdir()):
        expected = {
            each.name: each.read(0, each.n_elements).reshape(each.shape)
            for each in read_header(checkpoint / "expected.st")
        }
        yield {"what": checkpoint.name, "differences": _differing_weights(checkpoint, expected)}


def _differing_weights(checkpoint: Path, expected: dict[str, np.ndarray]) -> list[str]:
    """Return the weights whose shape or bits differ, whole or in runs of elements that end within rows."""
    found = open_checkpoint(checkpoint).tensors
    differences = [f"{name} only in one" for name in sorted(found.keys() ^ expected.keys())]
    for name in sorted(found.keys() & expected.keys()):
        tensor, n = found[name], expected[name].size
        whole = tensor.read(0, n)
        cuts = [*range(0, n, max(1, n // 7 | 1)), n]
        runs = np.concatenate([tensor.read(a, b - a) for a, b in pairwise(cuts)])
        if tensor.shape != expected[name].shape:
            differences.append(f"{name} is {tensor.shape}, not {expected[name].shape}")
        elif not np.array_equal(_bits(whole), _bits(expected[name])):
            differences.append(f"{name}, at most {np.abs(whole - expected[name].reshape(-1)).max():g} apart")
        elif not np.array_equal(_bits(runs), _bits(whole)):
            differences.append(f"{name}, read in parts")
    return differences


def _bits(values: np.ndarray) -> np.ndarray:
    """Return the bits of values; a negative zero, which bitsandbytes makes of FP4's table, is a zero."""
    return (np.ascontiguousarray(values, np.float32).reshape(-1) + np.float32(0)).view(np.uint32)


# --- the published formulas, number by number


def _formulas(folder: Path) -> Iterator[Finding]:
    """Pack numbers one by one, as each format's own code does, and compare what is read with their values."""
    source = np.random.default_rng(0)
    packers: dict[str, Callable[[np.random.Generator], tuple[Parts, np.ndarray]]] = {
        "gptq-3": _gptq_of_3_bits,
        "awq": _awq,
        "mxfp4": _mxfp4_blocks,
        "modelopt-nvfp4": _nvfp4,
    }
    settings = {name: FORMS[name].settings for name in packers} | {"mxfp4": {"quant_method": "mxfp4"}}
    for name, pack in packers.items():
        checkpoint = folder / name
        checkpoint.mkdir(parents=True)
        parts, expected = pack(source)
        config = {"architectures": ["LlamaForCausalLM"], "quantization_config": settings[name]}
        (checkpoint / "config.json").write_text(json.dumps(config))
        write_tensors(checkpoint / "model.safetensors", {f"m.{part}": tensor for part, tensor in parts.items()})
        weight = "m.experts" if name == "mxfp4" else "m.weight"
        yield {"what": f"{name}, by its formula", "differences": _differing_weights(checkpoint, {weight: expected})}


def _groups(source: np.random.Generator, n_in: int, n_out: int, n_values: int) -> tuple[np.ndarray, ...]:
    """Return numbers, zero points and scales of groups of 32 inputs: (n_in, n_out), (n_groups, n_out) twice."""
    numbers = source.integers(0, n_values, (n_in, n_out))
    zeros = source.integers(0, n_values, (n_in // 32, n_out))
    return numbers, zeros, source.uniform(0.001, 0.02, zeros.shape).astype(np.float16)


def _gptq_of_3_bits(source: np.random.Generator) -> tuple[Parts, np.ndarray]:
    """Pack as AutoGPTQ: ten numbers, two bits of the next, its third bit, ten numbers, one bit of the next ..."""
    numbers, zeros, scale = _groups(source, 96, 64, 8)
    group = source.permutation(np.arange(96, dtype=np.int32) // 32)
    parts: Parts = {
        "qweight": ("I32", _three_words(numbers)),
        "qzeros": ("I32", np.ascontiguousarray(_three_words(zeros.T).T)),
        "scales": ("F16", scale),
        "g_idx": ("I32", group),
    }
    values = [
        [
            np.float32(scale[group[i], o]) * np.float32(int(numbers[i, o]) - int(zeros[group[i], o]) - 1)
            for i in range(96)
        ]
        for o in range(64)
    ]
    return parts, np.array(values, np.float32)


def _three_words(numbers: np.ndarray) -> np.ndarray:
    """Pack numbers of three bits along the first axis."""
    packed = np.zeros((len(numbers) // 32 * 3, numbers.shape[1]), np.uint32)
    for first in range(0, len(numbers), 32):
        word, at = first // 32 * 3, first
        for place in range(10):
            packed[word] |= (numbers[at + place] << 3 * place).astype(np.uint32)
        packed[word] |= (numbers[at + 10] << 30 & 0xFFFFFFFF).astype(np.uint32)
        packed[word + 1] |= (numbers[at + 10] >> 2 & 1).astype(np.uint32)
        for place in range(10):
            packed[word + 1] |= (numbers[at + 11 + place] << 3 * place + 1).astype(np.uint32)
        packed[word + 1] |= (numbers[at + 21] << 31 & 0xFFFFFFFF).astype(np.uint32)
        packed[word + 2] |= (numbers[at + 21] >> 1 & 3).astype(np.uint32)
        for place in range(10):
            packed[word + 2] |= (numbers[at + 22 + place] << 3 * place + 2).astype(np.uint32)
    return packed.view(np.int32)


def _awq(source: np.random.Generator) -> tuple[Parts, np.ndarray]:
    """Pack as AutoAWQ's WQLinear_GEMM: a word's nibbles are the outputs 0, 2, 4, 6, 1, 3, 5 and 7 of eight."""
    numbers, zeros, scale = _groups(source, 96, 40, 16)
    order = (0, 2, 4, 6, 1, 3, 5, 7)

    def pack(values: np.ndarray) -> np.ndarray:
        packed = np.zeros((len(values), values.shape[1] // 8), np.uint32)
        for column in range(packed.shape[1]):
            for nibble in range(8):
                packed[:, column] |= (values[:, 8 * column + order[nibble]] << 4 * nibble).astype(np.uint32)
        return packed.view(np.int32)

    parts: Parts = {"qweight": ("I32", pack(numbers)), "qzeros": ("I32", pack(zeros)), "scales": ("F16", scale)}
    values = [
        [np.float32(int(numbers[i, o]) - int(zeros[i // 32, o])) * np.float32(scale[i // 32, o]) for i in range(96)]
        for o in range(40)
    ]
    return parts, np.array(values, np.float32)


def _fp4_value(code: int) -> float:
    """Return the value of a sign, two bits of exponent with a bias of 1, and one of mantissa."""
    sign, exponent, mantissa = -1.0 if code & 8 else 1.0, code >> 1 & 3, code & 1
    return sign * (2.0 ** (exponent - 1) * (1 + mantissa / 2) if exponent else mantissa / 2)


def _mxfp4_blocks(source: np.random.Generator) -> tuple[Parts, np.ndarray]:
    """Store blocks of 32 as gpt-oss: 16 bytes each, the lower half first, and exponents with a bias of 127."""
    blocks = source.integers(0, 256, (2, 5, 3, 16)).astype(np.uint8)
    exponents = source.integers(100, 140, (2, 5, 3)).astype(np.uint8)
    values = np.empty((2, 5, 96), np.float32)
    for place in np.ndindex(blocks.shape):
        expert, row, block, byte = place
        for half in range(2):
            number = _fp4_value(int(blocks[place]) >> 4 * half & 15)
            values[expert, row, 32 * block + 2 * byte + half] = number * 2.0 ** (
                int(exponents[expert, row, block]) - 127
            )
    return {"experts_blocks": ("U8", blocks), "experts_scales": ("U8", exponents)}, values


def _nvfp4(source: np.random.Generator) -> tuple[Parts, np.ndarray]:
    """Store blocks of 16 as ModelOpt: scales of E4M3, and one for all."""
    numbers = source.integers(0, 256, (6, 24)).astype(np.uint8)
    codes = source.integers(0, 127, (6, 3)).astype(np.uint8)
    factor = np.float32(0.0123)
    values = np.empty((6, 48), np.float32)
    for row, column in np.ndindex(values.shape):
        code = int(codes[row, column // 16])
        exponent, mantissa = code >> 3, code & 7
        scale = 2.0 ** (exponent - 7) * (1 + mantissa / 8) if exponent else 2.0**-6 * mantissa / 8
        number = _fp4_value(int(numbers[row, column // 2]) >> 4 * (column % 2) & 15)
        values[row, column] = np.float32(number * scale) * factor
    parts: Parts = {
        "weight": ("U8", numbers),
        "weight_scale": ("F8_E4M3", codes),
        "weight_scale_2": ("F32", np.array(factor)),
    }
    return parts, values
