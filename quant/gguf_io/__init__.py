"""GGUF files: reading and writing headers, types, levels, names, importance matrices."""
