"""Sarashina2VisionForCausalLM: the text model, a Llama. The vision part is omitted.

Source: conversion/sarashina2.py of the pinned llama.cpp.
"""

import msgspec

from quant.convert.families.llama import FAMILY as LLAMA

FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("Sarashina2VisionForCausalLM",),
    model_types=("sarashina2_vision",),
    omitted=("visual.", "norm."),
)
