"""Letters of a stranger's text that no line can show."""


def spaced(text: str) -> str:
    """Put a space in the place of each letter that cannot be printed: line ends, what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " for letter in text)
