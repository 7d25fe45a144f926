"""File size and memory of a model at each level from its config.json alone, without its weights."""
