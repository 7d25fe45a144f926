"""Broken results files: every command that reads them prints its figures or one line, and nothing that does harm.

Nothing that they hold may control a terminal, be markup in report.html or report.md, or be no JSON in an export.
"""

import ast
import contextlib
import csv
import hashlib
import io
import json
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import click
import msgspec

from profiler.cli import root
from profiler.cli.results import FORMATS
from profiler.records.energy import EnergyReading, EnergySpan, EnergyTrace
from profiler.records.environment import CoreKind, Device
from profiler.records.failure import Doubt
from profiler.records.quality import Divergence, Mean, Perplexity, QualityRecord
from profiler.records.round import AnchorRound, Conditions, Round, Sample
from quant.base.errors import UserError
from tests.fuzz.checks import HungError, WrongError, check_left, check_line, files_in, time_limit
from tests.fuzz.mutations.results import ATTRIBUTE, TAG, mutated
from tests.support.cells import artifact, cell
from tests.support.rounds import a_round, no_round, sample, with_cell
from tests.support.summaries import environment

_COMMAND_S = 60.0
_DRAWN_SHARE = 0.03  # of the cases, in which charts and reports are made: a second or two each
_LIMITS = (
    *([], ["--max-memory", "1GiB"], ["--min-decode", "8", "--min-prefill", "1"], ["--max-ttft", "1s"], ["--json"]),
    *(["--max-kld", "0.5"], ["--n-ctx", "4096"], ["--prefer", "speed=2,memory=1,quality=1"], ["--flagged", "--json"]),
)
_COMPARED = ([], ["--by", "level"], ["--by", "threads"], ["--by", "device"], ["--json"], ["--fail-on-regression"])
_CHARTS = (
    *("latency-vs-parameters", "speed-vs-threads", "memory-by-part", "decode-vs-size", "level-tradeoff", "pareto"),
    *("inter-token-latency", "speed-vs-depth", "roofline", "drift", "device-comparison", "device-facets"),
)
_WRITTEN_SHARE = 0.3  # of the cases, in which recommend also writes files
# Of a file that runs a choice: the first characters of its lines or of its statements' types, or how many lines it has.
_HELD = {
    "llama-server.sh": "ce", "llama-cli.sh": "ce", "Modelfile": "6", "models.ini": "1[89]|2[0-2]", "run.py": "EIIIAAI",
}  # fmt: skip
_FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
_RAW_TAG = re.compile(rf"(?<!\\)<[/!]?{TAG}")


class Cases:
    """Results of two boards, and some that an older version wrote."""

    def __init__(self, folder: Path) -> None:
        boards = [_board(1.0), _board(0.8, board="Other Board", memory_bytes=4 << 30, governor="performance")]
        old = msgspec.to_builtins(_board(1.0)[:30])
        for record in old:
            for name in ("doubt", "target", "energy", "start_ns", "read_ceiling_bytes_per_s", "general_name"):
                record.pop(name, None)
            for each in record.get("samples", ()):
                for moment in ("before", "after"):
                    each[moment].pop("minor_faults", None)
        self._bases: list[list[dict[str, Any]]] = [*map(msgspec.to_builtins, boards), old]
        self._whole = b"".join(msgspec.json.encode(record) + b"\n" for record in boards[1])

    def run_case(self, random: Random, scratch: Path) -> Sequence[str]:
        """Write a broken results file, and let commands read it."""
        path, other = scratch / "results.jsonl", scratch / "other.jsonl"
        path.write_bytes(mutated(self._bases, random))
        other.write_bytes(mutated(self._bases, random) if random.random() < 0.1 else self._whole)
        before, refusals = files_in(scratch), list[str]()
        for form in random.sample(FORMATS, 2):
            _check_export(form, _called(["export", str(path), "--format", form], refusals))
        _called(["show", str(path), *random.choice(([], ["--memory"]))], refusals)
        written = ["-o", str(scratch / "out")] if random.random() < _WRITTEN_SHARE else []
        _called(["recommend", str(path), *random.choice(_LIMITS), *written], refusals, statuses=(0, 1))
        _check_deploy(scratch / "out")
        pair = random.choice(([path, other], [other, path], [path, path]))
        _called(["compare", *map(str, pair), *random.choice(_COMPARED)], refusals, statuses=(0, 1))
        if random.random() < 0.2:
            _called(["show", str(path), str(other)], refusals)
        if random.random() < _DRAWN_SHARE:
            before |= _drawn(path, refusals, random)
        check_left(before, scratch)
        return list(dict.fromkeys(refusals))


def _called(arguments: list[str], refusals: list[str], statuses: Sequence[int] = (0,)) -> str | None:
    """Call a command as profiler.cli.main does; return what it prints, None where it refuses.

    Raises:
        BaseException: it ends in another way, or prints what controls a terminal.
    """
    out, err = io.StringIO(), io.StringIO()
    command = " ".join(arguments[:1] + [each for each in arguments if each.startswith("--")])
    try:
        with time_limit(_COMMAND_S), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = root.main(arguments, prog_name="slmprof", standalone_mode=False)
    except UserError as error:
        if out.getvalue():
            raise WrongError(f"{command} printed something before it refused") from error
        refusals.append(check_line(str(error)))
        return None
    except click.ClickException as error:
        raise WrongError(f"{command}: {error.format_message()}") from error
    except HungError as error:
        raise WrongError(f"{command}: {error}") from error
    except SystemExit as error:
        status = error.code
    if (status if isinstance(status, int) else 0) not in statuses:
        raise WrongError(f"{command} ended with status {status}")
    for name, text in (("stdout", out.getvalue()), ("stderr", err.getvalue())):
        if bad := next((line for line in text.split("\n") if not line.isprintable()), None):
            raise WrongError(f"{command} prints to {name} what cannot be printed: {_around_bad(bad)!r}")
    return out.getvalue()


def _around_bad(line: str) -> str:
    place = next(place for place, character in enumerate(line) if not character.isprintable())
    return line[max(0, place - 20) : place + 20]


def _check_export(form: str, text: str | None) -> None:
    """Parse an export.

    Raises:
        ValueError: it is not what its format promises.
    """
    if text is None:
        return
    if form in ("json", "llama-bench"):
        json.loads(text, parse_constant=_refuse_constant)
    elif form == "llama-bench-jsonl":
        for line in text.splitlines():
            json.loads(line, parse_constant=_refuse_constant)
    elif form == "csv" and len({len(row) for row in csv.reader(io.StringIO(text))}) > 1:
        raise WrongError("the rows of the CSV file differ in length")


def _check_deploy(folder: Path) -> None:
    """Check that the files which run a choice hold no line and no statement of the results' own, and remove them.

    Raises:
        WrongError: one does.
    """
    for path in filter(Path.is_file, files_in(folder)):
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line and not re.match(r"[#;] |#!/bin/sh$", line)]
        if path.name == "run.py":
            held = "".join(type(each).__name__[0] for each in ast.parse(text.encode()).body)
        else:
            held = "".join(line[0] for line in lines) if path.suffix == ".sh" else str(len(lines))
        if not text.replace("\n", "").isprintable() or not re.fullmatch(_HELD[path.name], held):
            raise WrongError(f"{path.name} holds {held}: {text[:400]!r}")
    shutil.rmtree(folder, ignore_errors=True)


def _refuse_constant(name: str) -> None:
    raise WrongError(f"the JSON holds {name}")


def _drawn(path: Path, refusals: list[str], random: Random) -> set[Path]:
    """Write reports, charts and a comparison's chart; return the files that were made.

    Raises:
        WrongError: text of the results is markup in a report.
    """
    folder = path.parent / "out"
    folder.mkdir()
    html, markdown = folder / "report.html", folder / "report.md"
    _called(["report", str(path), "-o", str(html), "-o", str(markdown), *random.choice(_LIMITS[:4])], refusals)
    if html.exists():
        _check_html(html.read_text(encoding="utf-8"))
        text = _FENCED.sub("", markdown.read_text(encoding="utf-8"))
        if found := _RAW_TAG.search(text):
            raise WrongError(f"text is markup in report.md: {text[max(0, found.start() - 40) : found.end() + 40]!r}")
    form = random.choice(("png", "svg", "pdf"))
    charts = ",".join(random.sample(_CHARTS, 2))
    _called(["plot", str(path), "-o", str(folder / "charts"), "--format", form, "--chart", charts], refusals)
    chart = folder / f"compared.{form}"
    _called(["compare", str(path), str(path), "--by", "level", "--chart", str(chart)], refusals)
    made = files_in(path.parent)
    if strays := [each for each in made if each.suffix in (".part", ".tmp") or each.name.startswith(".")]:
        raise WrongError(f"stray files: {strays}")
    for svg in folder.rglob("*.svg"):
        _check_html(svg.read_text(encoding="utf-8"))
    return made


class _Markup(HTMLParser):
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look for what only a results file can have brought."""
        for name, value in attrs:
            if name == ATTRIBUTE or (value or "").strip().lower().startswith("javascript:"):
                raise WrongError(f"text is an attribute in the page: {tag} {name}={value}")
        if tag == TAG:
            raise WrongError(f"text is markup in the page: {self.get_starttag_text()}")


def _check_html(text: str) -> None:
    parser = _Markup()
    parser.feed(text)
    parser.close()


def _board(speed: float, **changes: Any) -> list[Any]:
    """Return the records of a sweep on a board; figures vary a little from round to round."""
    random = Random(str(speed))
    kinds = (CoreKind(name="performance", cpus=(0, 1), max_mhz=2400.0), CoreKind(name="efficiency", cpus=(2, 3)))
    cpu = Device(name="CPU", description="Test CPU", kind="cpu", memory_bytes=1 << 33)
    here = environment(core_kinds=kinds, devices=(cpu,), thread_variables={"OMP_NUM_THREADS": "2"}, **changes)
    levels = {"F16": 2_000_000, "Q8_0": 1_000_000, "Q4_K_M": 600_000}
    files = {
        level: artifact(
            hashlib.sha256(level.encode()).hexdigest(),
            level=level,
            file_name=f"tiny-{level}.gguf",
            tensor_bytes=size,
            file_bytes=size + 100_000,
            source="org/tiny",
            general_name="Tiny",
        )
        for level, size in levels.items()
    }

    def measured(index: int, level: str, place: int, **config: Any) -> Round:
        def ms(value: float) -> float:
            return value / speed * random.uniform(0.97, 1.03)

        steps = tuple(ms(10 * levels[level] / 1e6) for _ in range(4))
        choose = 0.1 if config.get("mode") == "request" else None
        mhz = Conditions(mhz=2400.0, temperature_c=50.0 + index, load_1m=0.5, busy_ns=10**9 * index, governor="x")
        record = a_round(index, sample(ms(60), steps, choose, before=mhz, after=mhz), order=place, env_id=here.id)
        return with_cell(record, files[level].sha256, **config)

    settings: list[dict[str, Any]] = [
        {},
        {"n_threads": 2, "n_threads_batch": 2},
        {"mode": "request", "workload": "chat", "n_outputs_max": 1},
        {"n_depth": 32, "n_ctx": 128},
    ]
    records: list[Any] = [here, *files.values()]
    for index in range(6):
        for place, level in enumerate(levels):
            records += [measured(index, level, place, **config) for config in settings]
    records += [no_round(index, env_id=here.id, cell=cell(files["Q8_0"].sha256, n_threads=4)) for index in range(2)]
    records.append(
        no_round(0, "skipped", "needs about 9 GiB", env_id=here.id, cell=cell(files["F16"].sha256, n_ctx=1 << 20))
    )
    doubt = Doubt(name="drifting", message="the anchor ran 9.0% slower after these rounds")
    records.append(msgspec.structs.replace(measured(5, "Q8_0", 3), doubt=doubt))
    anchor = measured(0, "Q8_0", 0)
    records.append(AnchorRound(**{name: getattr(anchor, name) for name in Round.__struct_fields__}))
    records.append(_with_energy(measured(0, "Q4_K_M", 9, n_gen=4, n_prompt=6, n_threads=3)))
    minutes = [measured(minute, "Q8_0", 10, mode="request", sustain_s=120) for minute in range(2)]
    records += [_with_energy(_of_minute(record)) for record in minutes]
    return records + [_quality(level, files[level].sha256, files["F16"].sha256, here.id) for level in levels]


def _of_minute(record: Round) -> Round:
    start_ns = record.round * 60 * 10**9
    times = {"start_ns": start_ns, "end_ns": start_ns + 61 * 10**9}
    throttled = Conditions(mhz=1800.0, temperature_c=84.0, throttle=("throttled",))
    samples = tuple(msgspec.structs.replace(each, after=throttled, **times) for each in record.samples)
    return msgspec.structs.replace(record, samples=samples)


def _with_energy(record: Round) -> Round:
    before, after = (EnergyReading(at_ns=at, counters_uj={"package-0": at // 10**3}) for at in (10**9, 2 * 10**9))
    span = EnergySpan(before=before, after=after)
    samples: tuple[Sample, ...] = tuple(
        msgspec.structs.replace(each, decode_energy=span, prefill_energy=before) for each in record.samples
    )
    trace = EnergyTrace(source="RAPL", covers="the package", ranges_uj={"package-0": 1 << 40}, interval_ms=None)
    return msgspec.structs.replace(record, samples=samples, energy=trace)


def _quality(level: str, sha256: str, reference: str, env_id: str) -> QualityRecord:
    loss = {"F16": 0.0, "Q8_0": 0.01, "Q4_K_M": 0.1}[level]
    divergence = Divergence(
        kld=Mean(value=loss, se=loss / 10),
        kld_p90=loss * 2,
        kld_p99=loss * 5,
        kld_max=loss * 20,
        same_top=Mean(value=1 - loss, se=0.01),
        dp_rms=Mean(value=loss, se=0.001),
        log_ppl_ratio=Mean(value=loss, se=0.001),
    )
    return QualityRecord(
        artifact_sha256=sha256,
        text_sha256="e" * 64,
        text_name="words.txt",
        n_ctx=512,
        n_chunks_asked=None,
        reference_sha256=reference,
        type_k="q8_0" if level == "Q8_0" else "f16",
        env_id=env_id,
        status="ok",
        started_at="2025-01-01T00:00:00Z",
        n_threads=2,
        n_chunks=4,
        n_tokens=2048,
        perplexity=Perplexity(ppl=Mean(value=20 * (1 + loss), se=0.3), n_scored=1024),
        divergence=None if level == "F16" else divergence,
    )
