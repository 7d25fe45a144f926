"""MistralForCausalLM: llama's graph; llama.cpp ignores the sliding window of its early members, and so does the file.

Source: conversion/llama.py of the pinned llama.cpp, which converts both with one class.
"""

from quant.families.llama import FAMILY as LLAMA

FAMILY = LLAMA
