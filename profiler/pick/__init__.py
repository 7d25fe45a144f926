"""The choice of one cell while it is measured: which round is worth its time, and when the decision stands. Pure."""
