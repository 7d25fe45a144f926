"""Quantization with llama.cpp, from a GGUF file or directly from a checkpoint."""
