"""A measured cell as what runs it: lines for llama-server and llama-cli, and files for other programs.

make.py returns the texts, which files.py writes. What a program cannot express is a comment in its file.
"""
