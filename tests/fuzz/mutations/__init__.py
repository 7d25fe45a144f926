"""Ways to break files."""
