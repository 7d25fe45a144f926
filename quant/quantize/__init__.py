"""Quantization with llama.cpp, from a GGUF file or straight from a checkpoint."""
