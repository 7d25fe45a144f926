"""The commands that measure the cells of results: written from the records, with relative paths only."""

import shlex
from collections.abc import Collection, Hashable, Sequence

import msgspec

from plots.report.escaping import visible
from profiler.records.cell_summary import CellSummary
from profiler.records.round import Round
from profiler.results.file import Results
from profiler.results.stored import CellKey, RoundHead, heads_of, places_of
from profiler.sweep.cli_options import file_arguments, options_for
from quant.gguf_io.artifact import Artifact

_MOST_SOURCES = 12  # in one command


class _Request(msgspec.Struct):
    """What one command measures; `sources`, `levels` and `threads` are ordered sets."""

    options: tuple[str, ...]
    sources: dict[str, None]
    levels: dict[str, None]
    threads: dict[int, None]
    rounds: int
    reps: int

    def take(self, other: "_Request") -> None:
        self.sources |= other.sources
        self.levels |= other.levels
        self.threads |= other.threads
        self.rounds, self.reps = max(self.rounds, other.rounds), max(self.reps, other.reps)


def rerun_commands(
    results: Results,
    cells: Sequence[CellSummary],
    keys: Collection[CellKey] | None = None,
    *,
    output: str = "results.jsonl",
    extra: Sequence[str] = (),
) -> list[str]:
    """Return the commands that measure some cells (by default all) again.

    A model of a known repository is named by it, another by its file in models/, where `slmprof run` puts files. A
    command measures the device that it runs on, whatever the environment was. `extra` are options that replace or
    join those of the records. `cells` are the summaries of the results, which know the repetitions.
    """
    reps: dict[str, int] = {}
    for cell in cells:
        reps[cell.cell_key] = max(cell.reps, reps.get(cell.cell_key, 0))
    requested = [
        _requested(head, results.artifacts[head.cell.artifact_sha256], reps.get(head.cell.key, 0), extra)
        for head in _last(results, keys)
    ]
    # Thread counts of one file and level, then levels of one source, then sources of the same levels.
    for shared in (("sources", "levels"), ("sources", "threads"), ("levels", "threads")):
        joined: dict[Hashable, _Request] = {}
        for each in requested:
            key = (each.options, *(tuple(sorted(getattr(each, name))) for name in shared))
            if key in joined:
                joined[key].take(each)
            else:
                joined[key] = each
        requested = list(joined.values())
    return [_command(each, output, extra) for each in requested]


def _last(results: Results, keys: Collection[CellKey] | None) -> list[RoundHead | Round]:
    """Return each cell's record with the highest number, which has how many rounds were requested."""
    heads = heads_of(results.rounds)
    found: dict[str, int] = {}
    for places in places_of(results.rounds, keys).values():
        for place in places:
            head = heads[place]
            key = head.cell.key
            known = heads[found[key]] if key in found else None
            if known is None or (head.round, head.status == "ok") >= (known.round, known.status == "ok"):
                found[key] = place
    return [heads[place] for place in found.values()]


def _requested(record: RoundHead | Round, artifact: Artifact, reps: int, extra: Sequence[str]) -> _Request:
    file = file_arguments(artifact)
    # `slmprof run` puts files there.
    source = file.source if file.level else "models/" + visible(file.source).rpartition("/")[2]
    return _Request(
        options=file.options + _options_of(record, extra),
        sources={visible(source): None},
        levels={file.level: None} if file.level else {},
        threads={record.cell.config.n_threads: None},
        rounds=record.round + 1,
        reps=reps,
    )


def _options_of(record: RoundHead | Round, extra: Sequence[str]) -> tuple[str, ...]:
    words = [visible(word) for word in options_for(record.cell.config)]
    words += [] if record.target is None else ["--target", f"{record.target * 100:g}%"]
    words += [] if record.seed == 0 else ["--seed", str(record.seed)]
    return tuple(_without(words, extra))


def _without(words: Sequence[str], extra: Sequence[str]) -> list[str]:
    """Return the words without the options that `extra` sets; each of those has a value."""
    kept: list[str] = []
    skip = False
    for word in words:
        if not skip and not (word.startswith("-") and word in extra):
            kept.append(word)
        skip = not skip and word.startswith("-") and word in extra
    return kept


def _command(requested: _Request, output: str, extra: Sequence[str]) -> str:
    sources = [f"./{source}" if source.startswith("-") else source for source in requested.sources]
    words = ["slmprof", "profile", *sources[:_MOST_SOURCES]]
    words += ["-q", ",".join(requested.levels)] if requested.levels else []
    words += ["-t", ",".join(map(str, sorted(requested.threads)))] if "-t" not in extra else []
    words += [*requested.options]
    if "--sustain" not in words:
        words += ["--rounds", str(requested.rounds)] if "--rounds" not in extra else []
        words += ["-r", str(max(1, requested.reps))]
    text = " ".join(map(shlex.quote, [*words, *extra, "-o", output]))
    left = len(sources) - _MOST_SOURCES
    return text if left <= 0 else f"{text}  # and {left} more files like these"
