"""What every stage uses: errors, text, files, locks, caches and child processes."""
