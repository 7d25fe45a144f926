"""The one exception type for what a user can cause."""


class UserError(Exception):
    """Say what is wrong, which thing is meant, and what to do next, in one line.

    Raised anywhere, caught once at the root of the command line, which prints the text on stderr and exits 2.
    """

    def __str__(self) -> str:
        return " ".join(str(arg) for arg in self.args).replace("\n", " ").strip()
