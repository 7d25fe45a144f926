"""Energy sensors, one module per kind."""
