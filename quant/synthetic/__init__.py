"""Checkpoints and GGUF files of a given shape with synthetic weights."""
