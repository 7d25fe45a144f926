"""Times compared with other tools that do the same. Scripts to be run by hand, never tests that pass or fail."""
