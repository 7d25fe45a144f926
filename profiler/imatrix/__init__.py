"""Importance matrices: how large the inputs of each matrix are on a text, so that quantizing spares what they meet."""
