"""From a checkpoint to GGUF: which tensors, from which rows, with which keys."""
