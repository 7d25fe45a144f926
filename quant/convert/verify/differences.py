"""Compare the ids of two tokenizers line by line, and sort the lines that differ."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple, Protocol

from quant.convert.verify.known import KNOWN
from quant.convert.verify.messages import MISMATCH, Answer, Difference
from quant.convert.verify.reference import Frame, Reference

Ids = tuple[int, ...]


class Encode(Protocol):
    """Return the ids of a text."""

    def __call__(self, text: str, *, add_special: bool) -> Ids: ...


class _Line(NamedTuple):
    text: str
    add_special: bool
    expected: Ids
    found: Ids


def compared(encode: Encode, reference: Reference, texts: Sequence[str]) -> Answer:
    """Return which lines differ, by class."""
    lines = [
        _Line(text, mode, reference.encode(text, add_special=mode), encode(text, add_special=mode))
        for mode in reference.modes
        for text in texts
    ]
    waiting = [line for line in lines if line.expected != line.found]
    known = []
    for code, variant in _variants(reference) if waiting else ():
        explained = [line for line in waiting if variant.encode(line.text, add_special=line.add_special) == line.found]
        waiting = [line for line in waiting if line not in explained]
        known += [_difference(code, reference.library, explained)] if explained else []
        if not waiting:
            break
    return Answer(
        reference=reference.library,
        n_lines=len(lines),
        known=tuple(known),
        mismatch=_difference(MISMATCH, reference.library, waiting) if waiting else None,
    )


def _variants(reference: Reference) -> Iterator[tuple[str, Reference]]:
    """Yield the tokenizer changed by each known entry, then by several at once."""
    frame = reference.frame
    if frame is None:
        return
    there = [entry for entry in KNOWN if entry.changed(frame) is not None]
    for size in range(1, len(there) + 1):
        for chosen in combinations(there, size):
            changed: Frame | None = frame
            for entry in chosen:
                changed = entry.changed(changed) if changed is not None else None
            if changed is not None:
                yield "+".join(entry.code for entry in chosen), reference.framed(changed)


def _difference(code: str, library: str, lines: Sequence[_Line]) -> Difference:
    first = lines[0]
    return Difference(
        code=code,
        reference=library,
        n_lines=len(lines),
        text=first.text,
        add_special=first.add_special,
        expected=first.expected,
        found=first.found,
    )
