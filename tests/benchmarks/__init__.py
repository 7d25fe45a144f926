"""How long things take beside the tools that do the same. Scripts to be run by hand, never tests that pass or fail."""
