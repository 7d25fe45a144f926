"""From a checkpoint's tokenizer files to the vocabulary of a GGUF file."""
