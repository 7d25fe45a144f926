"""From GGUF files to measurements."""

__version__ = "0.1.0"
