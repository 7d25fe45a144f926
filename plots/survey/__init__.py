"""The runtime part of a survey of small language models, repeated on this board and drawn over its published values."""
