"""What a pick reports while it runs: who takes part, and who is out."""

from collections.abc import Mapping, Sequence

from profiler.pick.candidates import Candidates
from profiler.pick.records import Elimination, Entry
from profiler.tables.format import columns
from quant.base.units import format_bytes


def candidate_lines(candidates: Candidates) -> list[str]:
    """Return a table of the candidates' estimated sizes, and of the levels that are dropped before anything is made."""
    rows = [("level", "bits per weight", "file", "memory", "")]
    levels: dict[str, list[Entry]] = {}
    for entry in candidates.entries:
        levels.setdefault(entry.level, []).append(entry)
    for level, entries in levels.items():
        first = entries[0]
        memory = f"~{format_bytes(first.memory_bytes)}" if first.memory_bytes else ""
        threads = f"threads {', '.join(map(_threads, entries))}"
        rows.append((level, f"{first.bpw:.2f}", f"~{format_bytes(first.file_bytes)}", memory, threads))
    for each in candidates.dropped:
        file, memory = (f"~{format_bytes(size)}" if size else "" for size in (each.file_bytes, each.memory_bytes))
        rows.append((each.level, "", file, memory, f"dropped: {each.why}"))
    synthetic = ", SYNTHETIC weights" if candidates.synthetic else ""
    return [
        f"candidates of {candidates.model}{synthetic}, by estimate:",
        *("  " + "  ".join(row).rstrip() for row in columns(rows, left={0, 4})),
    ]


def _threads(entry: Entry) -> str:
    """Return a number of threads, with the decode speed that is predicted."""
    return f"{entry.n_threads} (~{entry.predicted_tps:.3g} t/s)" if entry.predicted_tps else str(entry.n_threads)


def elimination_lines(eliminated: Sequence[Elimination], entries: Mapping[str, Entry]) -> list[str]:
    """Return a line for each reason of each level: "out: Q8_0 t1, t2 (memory): ..."."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for each in eliminated:
        level = entries[each.key].level
        groups.setdefault((level, each.by, each.why), []).append(each.key.removeprefix(f"{level} "))
    return [f"out: {level} {', '.join(keys)} ({by}): {why}" for (level, by, why), keys in groups.items()]
