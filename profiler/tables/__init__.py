"""Tables for a terminal, and how figures are written in them."""
