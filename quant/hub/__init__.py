"""Downloads from a Hugging Face hub, in its own cache."""
