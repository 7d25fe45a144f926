"""Limits in, one choice out. choose.py decides; text.py writes it for a terminal or as JSON."""
