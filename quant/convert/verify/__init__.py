"""Tokens are verified: llama.cpp's ids of a file against those of the checkpoint's own tokenizer."""
