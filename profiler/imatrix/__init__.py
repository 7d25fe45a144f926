"""Which inputs of a model's matrices are large on a text, so that quantizing can spare what they meet."""
