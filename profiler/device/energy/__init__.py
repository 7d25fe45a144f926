"""Energy sensors: a module per kind, and find.py, which picks the device's."""
