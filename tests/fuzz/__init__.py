"""Inputs of the converter, broken at random."""
