"""What would spoil a measurement on this device: diagnosis.py reads it, advice/ judges it, text.py writes it."""
