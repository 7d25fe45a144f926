"""Progress on stderr: a bar, lines, a live table."""
