"""The one exception type for what a user can cause."""

from quant.base.text import spaced

_MAX_LETTERS = 2_000  # nobody reads a longer line; the longest of ours lists what there is to choose from


class UserError(Exception):
    """Say what is wrong, which thing is meant, and what to do next, in one line.

    Raised anywhere, caught once at the root of the command line, which prints the text on stderr and exits 2.
    """

    def __str__(self) -> str:
        # Parts of the text can come from a stranger's file: no letter that ends a line or that a terminal obeys.
        text = " ".join(str(arg) for arg in self.args)
        text = spaced(text).strip()
        if len(text) <= _MAX_LETTERS:
            return text
        # A stranger's name can be as long as it likes; what is wrong stands first, what to do next last.
        return f"{text[: _MAX_LETTERS // 2]} ... {text[-_MAX_LETTERS // 4 :]}"
