"""From rounds to figures: rates, medians, intervals, flags, memory parts. Pure."""
