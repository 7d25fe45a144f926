"""Kill a sweep or its worker with SIGKILL at random moments, resume, and count: nothing is lost, nothing is done twice.

Usage: python -m tests.fuzz.kills [--kills 100] [--seconds 900] [--seed 3]

Sweeps of thirty rounds follow each other until there were enough kills. After every kill the file must still begin with
all whole lines that it had before, and a worker must not outlive its parent; at the end of every sweep each round must
be recorded exactly once. Exits with status 1 when something was lost, repeated or left over.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.support.cells import script
from tests.support.resumable import all_turns, rounds_of, start

_STEP_S = 0.01
_WORKER_ENDS_WITHIN_S = 20


class Killer:
    """Run sweeps in a folder and kill what runs there."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._chance = folder, random.Random(seed)
        self.n_parents = self.n_workers = self.n_sweeps = 0
        self.faults: list[str] = []
        self._before = b""
        self._pace_s = 0.6  # between two records, as it was last seen

    @property
    def n_kills(self) -> int:
        return self.n_parents + self.n_workers

    def run(self, n_kills: int, seconds: float) -> None:
        """Kill `n_kills` times, or until the time is up, then let the last sweep end."""
        end_s = time.monotonic() + seconds
        while self.n_kills < n_kills and time.monotonic() < end_s:
            folder = self._folder / str(self.n_sweeps)
            folder.mkdir(parents=True)
            # A step of 60 ms on the engine's clock, so that drift control takes the sweep for a real one.
            script(folder / "model.json", decode_ns=60_000_000, sleep_s=0.02)
            self._sweep(folder, n_kills, end_s)
            self.n_sweeps += 1

    def _sweep(self, folder: Path, n_kills: int, end_s: float) -> None:
        results = folder / "results.jsonl"
        self._before = b""
        while True:
            process = start(folder)
            while process.poll() is None and self.n_kills < n_kills and time.monotonic() < end_s:
                self._wait_a_while(process, results)
                if process.poll() is None:
                    self._kill(process)
                self._compare(results)
            status = process.wait()
            self._compare(results)
            # A sweep whose worker was killed ends well and leaves that cell's rounds to the next run.
            if status == 0 and set(rounds_of(results)) == all_turns():
                break
            if status > 0:
                self.faults.append(f"sweep {self.n_sweeps} ended with status {status}")
                return
        if twice := {turn: count for turn, count in rounds_of(results).items() if count != 1}:
            self.faults.append(f"sweep {self.n_sweeps} did these rounds more than once: {twice}")

    def _wait_a_while(self, process: "subprocess.Popen[bytes]", results: Path) -> None:
        """Let some records be written, so that the sweep gets on, then wait until anywhere within the next."""
        n_records = self._chance.choice((0, 0, 1, 2))
        seen, since_s = _size(results), time.monotonic()
        while process.poll() is None and n_records:
            time.sleep(_STEP_S)
            if _size(results) != seen:
                self._pace_s = time.monotonic() - since_s
                seen, since_s, n_records = _size(results), time.monotonic(), n_records - 1
        time.sleep(self._chance.random() * self._pace_s)

    def _kill(self, process: "subprocess.Popen[bytes]") -> None:
        try:
            workers = psutil.Process(process.pid).children()
        except psutil.NoSuchProcess:
            return
        if workers and self._chance.random() < 0.5:
            self.n_workers += 1
            workers[0].kill()
            return
        self.n_parents += 1
        process.kill()
        process.wait()
        _, left = psutil.wait_procs(workers, timeout=_WORKER_ENDS_WITHIN_S)
        if left:
            self.faults.append(f"a worker outlived its parent by {_WORKER_ENDS_WITHIN_S} s")
            for worker in left:
                worker.kill()

    def _compare(self, results: Path) -> None:
        now = results.read_bytes() if results.exists() else b""
        if not now.startswith(self._before):
            self.faults.append(f"sweep {self.n_sweeps} lost records of its file")
        self._before = now[: now.rfind(b"\n") + 1]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=900, help="no kill after this time")
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        killer = Killer(Path(folder), arguments.seed)
        began_s = time.monotonic()
        killer.run(arguments.kills, arguments.seconds)
        for fault in killer.faults:
            print(fault)
        print(
            f"{killer.n_kills} kills ({killer.n_parents} of the sweep, {killer.n_workers} of a worker) in "
            f"{killer.n_sweeps} sweeps of {len(all_turns())} rounds, {time.monotonic() - began_s:.0f} s, "
            f"seed {arguments.seed}: {len(killer.faults)} faults"
        )
    return 1 if killer.faults or killer.n_kills < arguments.kills else 0


if __name__ == "__main__":
    sys.exit(main())
