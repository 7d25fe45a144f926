"""One round of one cell: the measuring loop and the worker process it runs in."""
