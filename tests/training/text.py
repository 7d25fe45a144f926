"""What the tiny model reads: the shipped corpus, and sums, questions and small talk that are put together by rules."""

import random
from pathlib import Path

# Read as a file: the interpreter with torch has none of this program's dependencies.
CORPUS = Path(__file__).resolve().parents[2] / "profiler" / "measure" / "workloads" / "corpus.txt"

HELD_OUT_EVERY = 10  # paragraphs

_NAMES = ("Mara", "Jonas", "Ines", "Peter", "Lena", "Tom", "Aisha", "Viktor", "Rosa", "Henry")
_THINGS = ("lamps", "apples", "pencils", "books", "gloves", "plates", "chairs", "letters", "loaves", "umbrellas")
_PLACES = ("kitchen", "harbour", "library", "market", "school", "station", "garden", "theatre", "mill", "bridge")
_WEATHER = ("cold", "warm", "grey", "bright", "windy", "wet", "foggy", "quiet")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_VERBS = ("mended", "painted", "counted", "carried", "sold", "found", "lost", "cleaned", "bought", "borrowed")
_CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Kenya": "Nairobi", "Austria": "Vienna",
    "Greece": "Athens", "Norway": "Oslo", "Peru": "Lima", "Cuba": "Havana", "Egypt": "Cairo", "Ghana": "Accra",
}  # fmt: skip


def _sums(source: random.Random) -> str:
    lines = []
    for _ in range(source.randint(3, 8)):
        left, right = source.randint(1, 60), source.randint(1, 40)
        sign = source.choice("+-*")
        if sign == "*":
            left, right = left % 13, right % 13
        left, right = max(left, right), min(left, right)
        result = {"+": left + right, "-": left - right, "*": left * right}[sign]
        lines.append(f"{left} {sign} {right} = {result}")
    return "\n".join(lines)


def _story(source: random.Random) -> str:
    one, other = source.sample(_NAMES, 2)
    thing, place, day = source.choice(_THINGS), source.choice(_PLACES), source.choice(_DAYS)
    had, gave = source.randint(6, 30), source.randint(1, 5)
    return (
        f"{day} was {source.choice(_WEATHER)} and {source.choice(_WEATHER)}. {one} {source.choice(_VERBS)} {had} "
        f"{thing} at the {place} and gave {gave} of them to {other}. {had} - {gave} = {had - gave}, so {one} had "
        f"{had - gave} {thing} left."
    )


def _talk(source: random.Random) -> str:
    one, other = source.sample(_NAMES, 2)
    thing, place = source.choice(_THINGS), source.choice(_PLACES)
    return (
        f'"Where are the {thing}?" asked {one}.\n"In the {place}," said {other}. "I {source.choice(_VERBS)} them on '
        f'{source.choice(_DAYS)}."\n"All of them?"\n"All but {source.randint(2, 9)}."'
    )


def _questions(source: random.Random) -> str:
    chosen = source.sample(sorted(_CAPITALS), 3)
    return "\n".join(f"Q: What is the capital of {each}?\nA: The capital of {each} is {_CAPITALS[each]}."
                     for each in chosen)  # fmt: skip


def _shop(source: random.Random) -> str:
    name, thing, count, price = (
        source.choice(_NAMES),
        source.choice(_THINGS),
        source.randint(2, 9),
        source.randint(2, 9),
    )
    return (
        f"A shop sells {thing} at {price} euros each. {name} buys {count}. {count} {thing} cost {count} * {price} = "
        f"{count * price} euros."
    )


def _code(source: random.Random) -> str:
    name, add = source.choice(_THINGS), source.randint(1, 20)
    return (
        f'def more_{name}({name}):\n    """Give {add} {name} more."""\n    return {name} + {add}\n\n\n'
        f"assert more_{name}({add}) == {2 * add}"
    )


_KINDS = (_sums, _story, _talk, _questions, _shop, _code)


def generated(n_paragraphs: int, seed: int) -> list[str]:
    """Return paragraphs that follow rules, the same ones for the same seed."""
    source = random.Random(seed)
    return [source.choice(_KINDS)(source) for _ in range(n_paragraphs)]


def corpus_paragraphs() -> tuple[list[str], list[str]]:
    """Return the corpus's paragraphs to be learned, and every tenth one, which is held out."""
    paragraphs = CORPUS.read_text(encoding="utf-8").strip().split("\n\n")
    held_out = paragraphs[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]
    return [each for each in paragraphs if each not in held_out], held_out
