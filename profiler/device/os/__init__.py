"""What the operating system knows of the machine.

machine.py   the records; system.py picks the platform's module
linux.py     Linux, with a module for each of its quirks: cgroup, cooling, jetson, raspberry, and arm for core names
darwin.py    macOS
windows.py   Windows
portable.py  what psutil reads alike on every system
features.py  instruction sets under ggml's names
files.py     small files of /proc and /sys; programs.py the output of system programs
"""
