"""The survey's figures, a module each, drawn over the published values."""
