"""llama3's rope factors, bit by bit those that torch (2.13, AVX2) computes with llama.cpp's expressions."""

import numpy as np
import pytest

from quant.convert.families.llama import extra_tensors


@pytest.mark.parametrize(
    ("head_dim", "theta", "length", "between"),
    [
        (32, 10000.0, 8192, [0x3FFB318F, 0x4095CEB4]),
        (32, 10000.0, 256, [0x3FFF2F8C, 0x409904C8]),
        (48, 10000.0, 256, [0x3FC714F8, 0x402644B9, 0x409904C8]),
        (64, 500000.0, 8192, [0x3FC6D64A, 0x402C732E, 0x40A83C06]),
        (72, 500000.0, 8192, [0x3F86FE44, 0x3FD2A618, 0x402C732E, 0x409AB40F]),
        (80, 500000.0, 8192, [0x3F932881, 0x3FDCB75C, 0x402C732E, 0x4090FBEF]),
        (96, 10000.0, 512, [0x3F88ADA1, 0x3FAC111E, 0x3FDAD5B2, 0x400D1088, 0x40394D7D, 0x407A0521, 0x40AFA4BF]),
        (112, 1000000.0, 8192, [0x3F95F8CF, 0x3FCB0708, 0x400C4B7A, 0x4047FE8E, 0x4095CEB4, 0x40F5451C]),
        (128, 500000.0, 8192, [0x3F9A8ED5, 0x3FC6D64A, 0x4001AF1D, 0x402C732E, 0x406BCACE, 0x40A83C06]),
    ],
)
def test_the_factors_between_the_two_wavelengths(head_dim, theta, length, between):
    rope = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": length}
    config = {"head_dim": head_dim, "rope_theta": theta, "rope_scaling": rope}
    bits = extra_tensors(config)["rope_freqs.weight"].view(np.uint32)
    one, eight = 0x3F800000, 0x41000000
    n_ones = bits.tolist().count(one)
    assert bits.tolist() == [one] * n_ones + between + [eight] * (head_dim // 2 - n_ones - len(between))
