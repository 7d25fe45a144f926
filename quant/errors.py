"""The one exception type for what a user can cause."""


class UserError(Exception):
    """Say what is wrong, which thing is meant, and what to do next, in one line.

    Raised anywhere, caught once at the root of the command line, which prints the text on stderr and exits 2.
    """

    def __str__(self) -> str:
        # Parts of the text can come from a stranger's file: no letter that ends a line or that a terminal obeys.
        text = " ".join(str(arg) for arg in self.args)
        return "".join(letter if letter.isprintable() else " " for letter in text).strip()
