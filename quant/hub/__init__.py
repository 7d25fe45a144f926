"""Downloads from a Hugging Face hub, and the cache they are kept in."""
