"""What docs/raspberry-pi.md says of the published levels and threads is what their data says."""

from itertools import combinations

from plots.charts.published_levels import load_levels
from tests.support.commandline import ROOT

PAGE = (ROOT / "docs" / "raspberry-pi.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
Speeds = dict[str, dict[int, float]]


def speeds(model: str) -> Speeds:
    """Return decode by level and threads."""
    found: Speeds = {}
    for each in load_levels():
        if each.model == model:
            found.setdefault(each.level, {})[each.n_threads] = each.decode_tps
    return found


SMALL, LARGE = speeds("Qwen2.5-0.5B-Instruct"), speeds("Qwen2.5-1.5B-Instruct")


def order(levels: Speeds, n_threads: int) -> list[str]:
    """Return the levels, the fastest first."""
    return sorted(levels, key=lambda level: -levels[level][n_threads])


def moved(levels: Speeds) -> str:
    """Return how many pairs of levels change places between two threads and four."""
    pairs = list(combinations(levels.values(), 2))
    return f"{sum((a[2] < b[2]) != (a[4] < b[4]) for a, b in pairs)} of {len(pairs)}"


def test_the_tables_are_the_data_with_the_fastest_count_in_bold() -> None:
    for levels in (SMALL, LARGE):
        rows = []
        for level in order(levels, 2):
            fastest = max(levels[level].values())
            cells = [f"**{tps:.1f}**" if tps == fastest else f"{tps:.1f}" for tps in levels[level].values()]
            rows.append(f"| {level} | {' | '.join(cells)} |\n")
        assert "".join(rows) in PAGE


def test_the_sentences_are_those_of_the_data() -> None:
    gains = [100 * (each[2] / each[4] - 1) for each in (*SMALL.values(), *LARGE.values())]
    won = [gain for gain in gains if gain > 0]
    assert f"{len(won)} of the {len(gains)} files**, by {min(won):.0f} to {max(won):.0f} %" in WORDS
    odd = LARGE["Q3_K_M"]
    assert f"Q3_K_M of the 1.5B model is {100 * (odd[4] / odd[2] - 1):.0f} % faster with four" in WORDS
    assert [level for level, each in SMALL.items() if max(each, key=each.__getitem__) == 3] == ["Q4_K_M"]
    assert f"{order(SMALL, 2)[0]} is first with two and {order(SMALL, 4)[0]} with four" in WORDS
    assert f"{order(LARGE, 2)[-1]} is last with two and first with four" in WORDS
    assert order(LARGE, 2)[-1] == order(LARGE, 4)[0]
    assert f"{moved(SMALL)} and {moved(LARGE)} change places" in WORDS
