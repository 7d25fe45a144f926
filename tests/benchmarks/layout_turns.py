"""Prefill and decode by where ggml's work buffer starts: four processes that stay, and take turns of a second.

What else the machine does changes within seconds, and moves a process by more than the layout does. So the processes
of the four offsets are open together, each turn runs every one of them once in a random order, and the ratio to
offset 0 is taken within the turn.
"""

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from profiler.engine.llama import LlamaEngine
from profiler.records.config import RunConfig

_TOKEN = 5  # any: no layer looks at what it is


class Times(NamedTuple):
    """One prefill and the decode after it, in nanoseconds."""

    prefill: int
    decode: int


def turns(path: Path, config: RunConfig, offsets: Sequence[int], n_turns: int) -> list[dict[int, Times]]:
    """Return the times of each turn by offset.

    Raises:
        SystemExit: the layout cannot be controlled here.
    """
    order = random.Random(0)
    with _processes(path, config, offsets) as ask:
        return [{offset: ask(offset) for offset in order.sample(offsets, len(offsets))} for _ in range(n_turns)]


@contextmanager
def _processes(path: Path, config: RunConfig, offsets: Sequence[int]) -> Iterator[Callable[[int], Times]]:
    context = multiprocessing.get_context("spawn")
    pipes = {offset: context.Pipe() for offset in offsets}
    started = [
        context.Process(target=_serve, args=(pipes[offset][1], path, config, offset), daemon=True) for offset in offsets
    ]
    for process in started:
        process.start()

    def ask(offset: int) -> Times:
        pipes[offset][0].send(True)
        return Times(*pipes[offset][0].recv())

    try:
        for offset in offsets:
            if pipes[offset][0].recv() != str(offset):
                raise SystemExit(f"bench-layout: {path}: the work buffer cannot be placed at {offset}")
        yield ask
    finally:
        for process in started:
            process.kill()
            process.join()


def _serve(pipe: Connection, path: Path, config: RunConfig, offset: int) -> None:
    engine = LlamaEngine(work_buffer_offset_bytes=offset)
    engine.load(path, config)
    engine.open_context(config)
    engine.place_work_buffer()
    _run(engine, config)
    pipe.send(engine.in_force().layout)
    while pipe.recv():
        pipe.send(_run(engine, config))


def _run(engine: LlamaEngine, config: RunConfig) -> Times:
    engine.clear()
    start_ns = time.perf_counter_ns()
    engine.prefill([_TOKEN] * config.n_prompt)
    middle_ns = time.perf_counter_ns()
    for _ in range(config.n_gen):
        engine.decode(_TOKEN)
    return Times(middle_ns - start_ns, time.perf_counter_ns() - middle_ns)
