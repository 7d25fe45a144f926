"""The output of a program of the operating system."""

import subprocess

TIMED_OUT = "does not answer"
_problems: dict[str, str] = {}  # by program: why its last call gave nothing


def problem_with(program: str) -> str | None:
    """Return why a program's last call gave nothing: it is missing, refused, or did not answer in time."""
    return _problems.get(program)


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
    except (OSError, subprocess.TimeoutExpired) as error:
        missing = isinstance(error, FileNotFoundError)
        _problems[command[0]] = "is missing" if missing else getattr(error, "strerror", None) or TIMED_OUT
        return ""
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())[:80]
        _problems[command[0]] = f"failed with status {done.returncode}{f' ({words})' if words else ''}"
    else:
        _problems.pop(command[0], None)
    return done.stdout
