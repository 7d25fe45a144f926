"""results.jsonl: reading, appending, locking."""
