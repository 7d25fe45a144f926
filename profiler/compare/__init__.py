"""Two results files against each other: matched cells, ratios with intervals, and what may be called a difference."""
