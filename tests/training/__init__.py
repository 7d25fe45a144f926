"""How the tiny real model in tests/data was made."""
