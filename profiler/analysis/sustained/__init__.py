"""Sustained loads: which minutes are the steady state, and how it differs from the first."""
