"""A text's tokens cut into the windows that are scored."""

from collections.abc import Sequence


def first_scored(n_ctx: int) -> int:
    """Give the first position whose prediction is scored: the tokens before it are context."""
    return n_ctx // 2


def n_scored(n_ctx: int) -> int:
    """Give how many predictions of a window are scored; the last position predicts what lies beyond it."""
    return n_ctx - 1 - first_scored(n_ctx)


def cut(tokens: Sequence[int], n_ctx: int, n_windows: int | None, bos: int | None) -> list[list[int]]:
    """Cut a text's tokens, given without BOS, into whole windows; `n_windows` is the most there may be.

    BOS stands once before the text, and again in the place of each window's first token.
    """
    whole = [*([] if bos is None else [bos]), *tokens]
    windows = [whole[start : start + n_ctx] for start in range(0, len(whole) - n_ctx + 1, n_ctx)][:n_windows]
    if bos is not None:
        for window in windows:
            window[0] = bos
    return windows
