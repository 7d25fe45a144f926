"""Speed from a graph and what a device takes for its nodes; pure."""
