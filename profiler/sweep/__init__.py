"""Many cells, many rounds: what is measured, in which order, until when."""
