"""Which charts are drawn, of which cells, in how many processes."""
