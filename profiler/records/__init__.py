"""The records of results.jsonl and the figures derived from them: data and nothing else."""
