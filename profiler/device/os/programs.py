"""The output of a program of the operating system."""

import subprocess


def output_of(*command: str, timeout_s: float = 5) -> str:
    """Run a fixed command and return its stdout; an empty text where it cannot run or does not answer in time."""
    try:
        done = subprocess.run(  # noqa: S603  fixed commands
            command,
            stdin=subprocess.DEVNULL,  # a worker's own stdin holds its job
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
