"""Where a worker's memory went: parts that are known one by one, held against what the system counts as resident.

Each part comes from one source that knows nothing of the total, so a remainder shows that something is wrong:

    mapped weights   the system: pages of the model's file that are resident through its mapping. llama.cpp asks for all
                     of them when it maps a file, so those that were repacked too are resident twice.
    copied weights   llama.cpp's log. Read without mmap, every byte is written.
    repacked         llama.cpp's log. Every byte is written, in anonymous memory.
    KV cache         llama.cpp's log. The cache is filled with zeros when it is made, so all of it is resident.
    output buffer    llama.cpp's log.
    compute buffer   allocated as llama.cpp's log has it. Only what was used is resident: the private memory by
                     which the worker grew after its context was made, at most the size in the log. With room for all
                     logits of a batch (n_outputs_max 0) most of it is never touched.
    runtime          the system, after the vocabulary was read and before any weight was: Python's, llama.cpp's and
                     ggml's own memory, most of it the vocabulary; and pages of libraries that ran since.

What is left has no part: llama.cpp's graph and scheduler, thread stacks, memory held for a while during the load. It is
below zero where the copy of the file's header, which holds every word of the vocabulary, was freed after the load or
taken over by buffers: the runtime counts it. For 152 thousand words that is some 4 MiB.
"""

from collections.abc import Sequence

import msgspec

from profiler.records.round import Buffers, Memory, Round


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One use of memory; more can be allocated than is resident."""

    name: str
    anon_bytes: int = 0
    file_backed_bytes: int = 0
    allocated_bytes: int | None = None  # from llama.cpp's log

    @property
    def resident_bytes(self) -> int:
        """All of it that is resident."""
        return self.anon_bytes + self.file_backed_bytes


class MemoryParts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a round, and the system's figures: all but the baseline is growth since the model was opened."""

    parts: tuple[Part, ...]
    baseline_bytes: int  # the worker before the model was opened
    peak_bytes: int  # of the whole process
    anon_bytes: int | None  # grown by, at the end
    file_backed_bytes: int | None  # grown by, at the end
    runtime_known: bool  # otherwise it is in the remainder

    @property
    def model_rss_bytes(self) -> int:
        """The measured total that the parts are held against."""
        return self.peak_bytes - self.baseline_bytes

    @property
    def sum_bytes(self) -> int:
        """What the parts explain."""
        return sum(part.resident_bytes for part in self.parts)

    @property
    def remainder_bytes(self) -> int:
        """What the parts do not explain; below zero where they explain more than there is."""
        return self.model_rss_bytes - self.sum_bytes

    @property
    def remainder_share(self) -> float:
        """The remainder as a share of the measured total."""
        return self.remainder_bytes / self.model_rss_bytes if self.model_rss_bytes else 0.0

    def part(self, name: str) -> Part:
        """Return a part by its name."""
        return next(part for part in self.parts if part.name == name)


def memory_parts(record: Round) -> MemoryParts | None:
    """Split a round's memory; None where it was not measured, or where parts of it are on a GPU."""
    phases, buffers = record.memory, record.buffers
    peak = peak_rss_of(phases)
    measured = _without_baseline(peak, phases)
    if buffers is None or measured is None or peak is None or len(phases) < 2:
        return None
    if record.in_force and record.in_force.n_layers_offloaded:
        return None
    first, last = phases["imported"], list(phases.values())[-1]
    runtime = _runtime(phases, last)
    return MemoryParts(
        parts=(
            *_weights(buffers, last),
            _from_log("KV cache", buffers.kv_cache_bytes),
            Part(
                name="compute buffer",
                anon_bytes=min(buffers.compute_bytes or 0, _growth(phases.get("context"), last) or 0),
                allocated_bytes=buffers.compute_bytes,
            ),
            _from_log("output buffer", buffers.output_bytes),
            runtime or Part(name="runtime"),
        ),
        baseline_bytes=peak - measured,
        peak_bytes=peak,
        anon_bytes=_difference(first.anon_bytes, last.anon_bytes),
        file_backed_bytes=_difference(first.file_backed_bytes, last.file_backed_bytes),
        runtime_known=runtime is not None,
    )


def peak_rss_of(phases: dict[str, Memory]) -> int | None:
    """Return the largest resident size that the system saw, or that a phase showed where it keeps no peak."""
    seen = [memory.peak_rss_bytes or memory.rss_bytes for memory in phases.values()]
    return max((value for value in seen if value is not None), default=None)


def model_rss_of(phases: dict[str, Memory]) -> int | None:
    """Return the peak without what the worker held before the model was opened."""
    return _without_baseline(peak_rss_of(phases), phases)


def _without_baseline(peak: int | None, phases: dict[str, Memory]) -> int | None:
    before = phases["imported"].rss_bytes if "imported" in phases else None
    return None if peak is None or before is None else peak - before


def typical(rounds: Sequence[MemoryParts]) -> MemoryParts:
    """Return the round with the median total: parts of one round add up, medians of parts need not."""
    ordered = sorted(rounds, key=lambda each: each.model_rss_bytes)
    return ordered[(len(ordered) - 1) // 2]


def _weights(buffers: Buffers, last: Memory) -> tuple[Part, Part, Part]:
    logged = buffers.weights_bytes or 0
    mapped = 0
    if buffers.weights_mapped:
        # Where the system lacks the figure, all of it counts as resident.
        mapped = logged if last.mapped_bytes is None else last.mapped_bytes
    return (
        Part(
            name="weights, mapped",
            file_backed_bytes=mapped,
            allocated_bytes=logged if buffers.weights_mapped else 0,
        ),
        _from_log("weights, copied", 0 if buffers.weights_mapped else logged),
        _from_log("weights, repacked", buffers.repacked_bytes),
    )


def _from_log(name: str, n_bytes: int | None) -> Part:
    return Part(name=name, anon_bytes=n_bytes or 0, allocated_bytes=n_bytes)


def _runtime(phases: dict[str, Memory], last: Memory) -> Part | None:
    first, vocabulary = phases["imported"], phases.get("vocabulary")
    if vocabulary is None or _private(vocabulary) is None:
        return None
    libraries = _difference(first.file_backed_bytes, last.file_backed_bytes)
    if libraries is not None:
        libraries -= last.mapped_bytes or 0
    return Part(
        name="runtime",
        anon_bytes=max(0, _growth(first, vocabulary) or 0),
        file_backed_bytes=max(0, libraries or 0),
    )


def _private(memory: Memory) -> int | None:
    """Return what is the process's own and backed by no file; macOS's footprint omits clean mapped pages."""
    return memory.footprint_bytes if memory.anon_bytes is None else memory.anon_bytes


def _growth(before: Memory | None, after: Memory) -> int | None:
    if before is None:
        return None
    if (private := _difference(_private(before), _private(after))) is not None:
        return max(0, private)
    grown = _difference(before.rss_bytes, after.rss_bytes)
    return None if grown is None else max(0, grown)


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
