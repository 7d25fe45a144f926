"""Which charts are drawn, and of which cells."""
