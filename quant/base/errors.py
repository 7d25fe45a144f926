"""The one exception type for what a user can cause."""

from quant.base.text import printable

_MAX_CHARS = 2_000  # nobody reads a longer line; the longest of ours lists what there is to choose from


class UserError(Exception):
    """What is wrong, with which file or option, and what to do next, in one line.

    Raised anywhere, caught once at the root of the command line, which prints the text on stderr and exits 2.
    """

    def __str__(self) -> str:
        # Parts of the text can come from an untrusted file: no character that ends a line or controls a terminal.
        text = printable(" ".join(str(arg) for arg in self.args)).strip()
        if len(text) <= _MAX_CHARS:
            return text
        # An untrusted name can be of any length; what is wrong comes first, what to do next last.
        return f"{text[: _MAX_CHARS // 2]} ... {text[-_MAX_CHARS // 4 :]}"
