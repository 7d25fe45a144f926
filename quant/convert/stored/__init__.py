"""Weights that are stored quantized: a module per method says which weights its tensors make, and reads their rows."""
