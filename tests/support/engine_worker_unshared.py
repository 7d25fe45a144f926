"""The engine's worker, in which no input shares a beginning with another: what sharing saves is measured against it."""

from profiler.tasks import prefixes, sequences
from profiler.tasks.engine_worker import main

if __name__ == "__main__":
    prefixes.LEAST_SAVED = sequences.LEAST_SAVED = 1 << 30
    main()
