"""Weights that torch.save wrote: read as data, nothing in them is called or imported."""
