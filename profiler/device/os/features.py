"""Instruction sets of a CPU: the system's names and ggml's.

Only those for which ggml has kernels and which current compilers enable with -march=native.
Source: the kernel's arch/x86/include/asm/cpufeatures.h, Documentation/arch/arm64/elf_hwcaps.rst; sysctl hw.optional;
ggml_backend_cpu_get_features in ggml-cpu.cpp of the pinned llama.cpp.
"""

import re

_OF_LINUX = {
    "ssse3": "SSSE3",
    "avx": "AVX",
    "avx2": "AVX2",
    "f16c": "F16C",
    "fma": "FMA",
    "bmi2": "BMI2",
    "avx_vnni": "AVX_VNNI",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "asimd": "NEON",
    "asimdhp": "FP16_VA",
    "asimddp": "DOTPROD",
    "i8mm": "MATMUL_INT8",
    "sve": "SVE",
}
_OF_DARWIN = {
    "avx1_0": "AVX",
    "avx2_0": "AVX2",
    "f16c": "F16C",
    "fma": "FMA",
    "bmi2": "BMI2",
    "avx512f": "AVX512",
    "AdvSIMD": "NEON",
    "arm.FEAT_FP16": "FP16_VA",
    "arm.FEAT_DotProd": "DOTPROD",
    "arm.FEAT_I8MM": "MATMUL_INT8",
}


def of_cpuinfo(cpuinfo: str) -> tuple[str, ...]:
    """Parse /proc/cpuinfo and return what all listed CPUs have."""
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    common = set.intersection(*(set(line.split()) for line in lines)) if lines else set()
    return tuple(name for flag, name in _OF_LINUX.items() if flag in common)


def of_sysctl(values: dict[str, str]) -> tuple[str, ...]:
    """Return what the values of `sysctl hw` list."""
    return tuple(name for key, name in _OF_DARWIN.items() if values.get(f"hw.optional.{key}") == "1")
