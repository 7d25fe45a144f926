"""What files answer in tasks: each against the unquantized file, and all of them by cell; pure."""
