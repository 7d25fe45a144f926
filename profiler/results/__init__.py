"""results.jsonl: reading, appending, locking."""

import gc


def collect_rarely() -> None:
    """Look for unreachable cycles once in 50,000 new objects; once in 700 is a tenth of the time of a large report."""
    gc.set_threshold(50_000)
