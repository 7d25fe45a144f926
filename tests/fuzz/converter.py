"""`make fuzz`: broken checkpoints are converted, or refused with one line; nothing else happens.

Each case is a small checkpoint with one to three things broken (tests/fuzz/mutations.py). It must end with a whole file
or with a UserError of one line, within seconds, and leave nothing beside the file. A case depends on the seed and its
own number alone: --seed S --case N repeats it, with --keep DIR its files are left there.
"""

import argparse
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from unittest import mock

from quant.base.errors import UserError
from quant.convert.to_gguf import convert
from quant.gguf_io.header import open_gguf_header
from tests.families import make_variant, variants
from tests.fuzz.forked import run_forked
from tests.fuzz.mutations import Files, mutated
from tests.support.checkpoints import make_checkpoint

_CASE_S = 10.0
_MEMORY_BYTES = 4 << 30
_MAX_MESSAGE = 2_000  # characters; nobody reads a longer line


class HungError(BaseException):
    """The time of a case is over; no `except Exception` may swallow it."""


class WrongError(Exception):
    """A case ended well, but not as it should."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise HungError(f"still running after {_CASE_S:.0f} s")


def make_bases(folder: Path) -> list[Files]:
    """Make small checkpoints and keep their files in memory: three plain ones, and one of each family."""
    small = {"hidden": 32, "layers": 1, "ffn": 64, "vocab": 300}
    made = [
        make_checkpoint(folder / "bpe", **small),
        make_checkpoint(folder / "sharded", architecture="Qwen2ForCausalLM", style="qwen2", shards=2, **small),
        make_checkpoint(folder / "spm", tokenizer="spm", **small),
    ]
    of_families = {variant.config["architectures"][0]: name for name, variant in variants().items()}
    made += [make_variant(name, folder) for name in of_families.values()]
    return [{path.name: path.read_bytes() for path in sorted(checkpoint.iterdir())} for checkpoint in made]


def write(files: Files, folder: Path) -> None:
    """Write a checkpoint's files; a name without bytes is a folder."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if data is None:
            path.mkdir()
        else:
            path.write_bytes(data)


def run_case(files: Files, scratch: Path) -> str | None:
    """Convert one checkpoint; return the refusal's text, or None for a good file.

    Raises:
        BaseException: whatever else happens.
    """
    folder, target = scratch / "area" / "model", scratch / "area" / "out" / "m.gguf"
    write(files, folder)
    target.parent.mkdir()
    before = _paths(scratch)
    refusal = None
    signal.setitimer(signal.ITIMER_REAL, _CASE_S)
    try:
        convert(folder, target)
    except UserError as error:
        refusal = str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if refusal is None:
        open_gguf_header(target)
    elif len(refusal.splitlines()) != 1 or not refusal.isprintable() or len(refusal) > _MAX_MESSAGE:
        raise WrongError(f"the refusal is not one line: {refusal[:200]!r} ({len(refusal)} characters)")
    if strays := _paths(scratch) - before - ({target} if refusal is None else set()):
        raise WrongError(f"stray files: {sorted(str(path.relative_to(scratch)) for path in strays)}")
    return refusal and refusal.replace(str(folder), "DIR")


def _paths(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@dataclass
class Outcomes:
    """What became of the cases: refusals by their first words, failures by kind and place, the slowest case."""

    refusals: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[int]] = field(default_factory=dict)
    n_converted: int = 0
    slowest_s: float = 0.0
    slowest: int = 0

    @property
    def n_failed(self) -> int:
        """The number of cases that failed."""
        return sum(map(len, self.failures.values()))

    def add_refusal(self, refusal: str | None) -> None:
        """Count a case that ended as it should."""
        if refusal is None:
            self.n_converted += 1
        else:
            self.refusals[" ".join(refusal.split()[:7])] += 1

    def add_failure(self, case: int, error: BaseException, *, with_traceback: bool) -> None:
        """Count a failed case; print the first of each kind."""
        what = _where(error)
        if what not in self.failures:
            print(f"FAILED, case {case}: {what}", flush=True)
            if with_traceback:
                traceback.print_exception(error)
        self.failures.setdefault(what, []).append(case)

    def add_time(self, case: int, case_s: float) -> None:
        """Keep the slowest case."""
        if case_s > self.slowest_s:
            self.slowest_s, self.slowest = case_s, case

    def print(self, n_cases: int, seed: int, took_s: float) -> None:
        """Print counts, the slowest case, the most frequent refusals and every failure."""
        print(f"{n_cases} cases, seed {seed}: {self.n_converted} converted, {self.refusals.total()} refused,"
              f" {self.n_failed} failed")  # fmt: skip
        print(f"{took_s:.0f} s; the slowest was case {self.slowest} with {self.slowest_s:.1f} s")
        for beginning, count in self.refusals.most_common(10):
            print(f"{count:7} {beginning}")
        for what, numbers in self.failures.items():
            print(f"FAILED {len(numbers)} times, as case {numbers[0]}: {what}")


def run(cases: range, seed: int, keep: Path | None) -> int:
    """Run cases, print what became of them, and return the number of failures."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGALRM, _alarm)
    warnings.simplefilter("error")  # a warning would be lines on stderr that explain nothing to a user
    outcomes = Outcomes()
    shm = Path("/dev/shm")  # in memory, where there is such a folder
    with (
        tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None, prefix="slmprof-fuzz-") as temporary,
        mock.patch("quant.convert.verify.verified.run_child", run_forked),
    ):
        bases = make_bases(Path(temporary) / "bases")
        shutil.rmtree(Path(temporary) / "bases")
        scratch = Path(temporary) / "case"
        start = time.monotonic()
        for case in cases:
            files = _files_of_case(bases, Random(f"{seed}/{case}"))
            case_start = time.monotonic()
            try:
                outcomes.add_refusal(run_case(files, scratch))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  every other end is what is looked for
                outcomes.add_failure(case, error, with_traceback=len(cases) == 1)
            outcomes.add_time(case, time.monotonic() - case_start)
            if keep is not None:
                shutil.copytree(scratch, keep, dirs_exist_ok=True)
            shutil.rmtree(scratch)
        took_s = time.monotonic() - start
    outcomes.print(len(cases), seed, took_s)
    return outcomes.n_failed


def _files_of_case(bases: list[Files], random: Random) -> Files:
    """Break one of the checkpoints; half of the cases are plain ones, whose parts are what all families share."""
    return mutated(random.choice(bases[:3] if random.random() < 0.5 else bases), random)


def _where(error: BaseException) -> str:
    """Name an exception and the project's innermost line that it passed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/quant/" in frame.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "the checks"
    return f"{type(error).__name__} at {place}: {str(error)[:160]}"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.converter", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="only this one, with its traceback")
    parser.add_argument("--keep", type=Path, help="leave the case's files here")
    arguments = parser.parse_args()
    if arguments.keep is not None and arguments.case is None:
        parser.error("--keep is for one --case")
    cases = range(arguments.cases) if arguments.case is None else range(arguments.case, arguments.case + 1)
    return 1 if run(cases, arguments.seed, arguments.keep) else 0


if __name__ == "__main__":
    sys.exit(main())
