"""What this device takes per token, by ggml operation."""
