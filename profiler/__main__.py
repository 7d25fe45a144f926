"""The console script: `slmprof`, or `python -m profiler`."""

import sys

from profiler.packages import check_packages
from profiler.streams import open_streams


def main() -> None:
    """Run the command line, unless another distribution shadows a package of slmprof."""
    open_streams()
    if reason := check_packages():
        sys.stderr.write(f"slmprof: {reason}\n")
        sys.exit(2)
    from profiler.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
