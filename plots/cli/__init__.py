"""The commands that draw: run, plot, compare, report."""
