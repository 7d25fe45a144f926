"""The memory of the calling process: reader.py picks the system's module."""
