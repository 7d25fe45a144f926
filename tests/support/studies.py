"""A synthetic study with figures for every chart: two boards, models of several families, levels, depths, rounds."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from profiler.operators.correct import Constants, PhaseTotals
from profiler.operators.report import OperatorReport
from profiler.operators.summary import Breakdown, BreakdownRow
from profiler.records.environment import Environment
from profiler.records.round import AnchorRound, Buffers, Conditions, InForce, Memory, Round, Sample
from profiler.results.file import Results
from quant.gguf_io.artifact import Artifact
from tests.support.cells import artifact, cell
from tests.support.summaries import environment

MIB = 1 << 20
LEVELS = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.7, "Q4_K_M": 4.85, "Q4_0": 4.5}
SMALLER_LEVELS = {"IQ4_NL": 4.5, "IQ4_XS": 4.25, "Q3_K_M": 3.9, "Q2_K": 3.0}
_BITS = LEVELS | SMALLER_LEVELS
MODELS = (
    ("smollm2-135m", "llama", 134_515_008),
    ("qwen2-0.5b", "qwen2", 494_032_768),
    ("gemma-3-1b", "gemma3", 999_885_952),
)
ARCHES = ("llama", "qwen2", "qwen3", "gemma", "phi2", "gptneox", "gpt2", "bloom", "openelm", "stablelm", "olmo")
BOARDS = (
    environment(board="Test Board 5 Model B"),
    environment(board="Other Board", cpu_model="Other CPU", cores_physical=8),
)
_BANDWIDTH = {BOARDS[0].id: 12e9, BOARDS[1].id: 40e9}
_ARTIFACT = {"file_name": "made.gguf", "tensor_types": {"Q8_0": 1}}


def many_models(count: int) -> list[tuple[str, str, int]]:
    """Name models of several families, from 70 million parameters to 3.8 billion."""
    return [
        (
            f"{ARCHES[place % len(ARCHES)]}-made-{place}",
            ARCHES[place % len(ARCHES)],
            round(7e7 * 54 ** (place / (count - 1))),
        )
        for place in range(count)
    ]


def files(models: Sequence[tuple[str, str, int]] = MODELS, levels: Sequence[str] = tuple(LEVELS)) -> list[Artifact]:
    """Return a file of each model at each level; of many models every third is synthetic, every ninth a stand-in."""
    made = []
    for place, (model, arch, n_params) in enumerate(models):
        synthetic = len(models) > len(MODELS) and place % 3 == 1
        standin = synthetic and place % 9 == 1
        for level in levels:
            n_bytes = round(n_params * _BITS[level] / 8)
            made.append(
                artifact(
                    f"{place:03}{list(_BITS).index(level):03}".ljust(64, "0"),
                    **_ARTIFACT,
                    model=model,
                    arch=arch,
                    n_params=n_params,
                    level=level,
                    file_bytes=n_bytes + MIB,
                    tensor_bytes=n_bytes,
                    decode_weight_bytes=n_bytes,
                    weights="synthetic" if synthetic else "real",
                    standin_for=model if synthetic else None,
                    standin_family="opt" if standin else None,
                )
            )
    return made


def study(
    artifacts: Sequence[Artifact],
    *,
    boards: Sequence[Environment] = BOARDS[:1],
    threads: Sequence[int] = (1, 2, 4),
    depths: Sequence[int] = (0,),
    rounds: int = 6,
    steps: int = 16,
) -> Results:
    """Return rounds of every file on every board at every thread count and depth, with anchors between."""
    draw = random.Random(1)
    made: list[Round] = []
    anchors: list[AnchorRound] = []
    for board in boards:
        order = 0
        for number in range(rounds):
            for each in artifacts:
                for count in threads:
                    for depth in depths:
                        made.append(_round(each, board, _Turn(number, order, count, depth, steps), draw))
                        order += 1
            first = made[-1]
            anchor = {name: getattr(first, name) for name in Round.__struct_fields__}
            anchors.append(AnchorRound(**anchor))
    return Results(
        environments={board.id: board for board in boards},
        artifacts={each.sha256: each for each in artifacts},
        rounds=made,
        anchors=anchors,
    )


class _Turn(NamedTuple):
    """Which round of which cell, and when it runs."""

    number: int
    order: int
    threads: int
    depth: int
    steps: int


def _round(file: Artifact, board: Environment, turn: _Turn, draw: random.Random) -> Round:
    number, order, threads, depth, steps = turn
    share = {1: 0.5, 2: 0.8, 4: 0.95}.get(threads, 1.0)
    ceiling = _BANDWIDTH.get(board.id, 5e9 + 1e9 * int(board.id[0], 16)) * share
    kv_bytes = max(1, file.n_params // 40)
    step_ns = 1e9 * (file.tensor_bytes + kv_bytes * (depth + 20) / 1024) / (ceiling * 0.8)
    prefill_ns = 2e9 * file.n_params * 512 / (20e9 * threads) * (1 + depth / 4000)
    samples = tuple(
        Sample(
            prefill_ns=round(prefill_ns * draw.gauss(1, 0.02)),
            sample_ns=None,
            decode_ns=tuple(
                round(step_ns * (draw.gauss(1, 0.02) + (draw.random() < 0.03) * 0.4)) for _ in range(steps)
            ),
            before=Conditions(temperature_c=50.0 + order / 50),
            after=Conditions(temperature_c=51.0 + order / 50),
        )
        for _ in range(2)
    )
    total = file.tensor_bytes + kv_bytes + 60 * MIB
    base = 40 * MIB
    phases = {
        "imported": base,
        "vocabulary": base + 12 * MIB,
        "loaded": base + 12 * MIB + file.tensor_bytes,
        "context": base + 12 * MIB + file.tensor_bytes + kv_bytes,
        "decoded": base + total,
    }
    return Round(
        env_id=board.id,
        cell=cell(
            file.sha256,
            n_prompt=512,
            n_gen=steps,
            n_depth=depth,
            n_ctx=1024 + depth,
            n_threads=threads,
            n_threads_batch=threads,
            workload="bench",
        ),
        round=number,
        status="ok",
        started_at=f"2025-01-01T{order // 3600:02}:{order // 60 % 60:02}:{order % 60:02}Z",
        seed=0,
        order=order,
        load_ns=10**9,
        samples=samples,
        memory={
            phase: Memory(
                rss_bytes=size,
                anon_bytes=size // 3,
                file_backed_bytes=size - size // 3,
                peak_rss_bytes=size,
                mapped_bytes=file.tensor_bytes if phase in ("loaded", "context", "decoded") else 0,
            )
            for phase, size in phases.items()
        },
        buffers=Buffers(
            weights_bytes=file.tensor_bytes,
            weights_mapped=True,
            repacked_bytes=0,
            kv_cache_bytes=kv_bytes,
            compute_bytes=30 * MIB,
            output_bytes=MIB,
        ),
        in_force=InForce(
            flash_attn=True,
            n_ctx=1024 + depth,
            n_batch=2048,
            n_ubatch=512,
            backends=("CPU",),
            n_layers_offloaded=0,
            threadpool=True,
            bos_added=False,
        ),
        read_ceiling_bytes_per_s=ceiling,
    )


def operators_report(**changes: object) -> OperatorReport:
    """Return what `slmprof operators --json` would write of a synthetic trace."""
    shares = {"MUL_MAT": 0.71, "FLASH_ATTN_EXT": 0.12, "RMS_NORM+MUL": 0.05, "ROPE": 0.03, "GLU": 0.03, "ADD": 0.02,
              "SET_ROWS": 0.01, "GET_ROWS": 0.01, "CPY": 0.008, "SCALE": 0.006, "CONT": 0.006}  # fmt: skip
    rows = tuple(_operator(name, share) for name, share in shares.items())
    modules = tuple(_operator(name, share) for name, share in (("attention", 0.4), ("ffn", 0.5), ("head", 0.1)))
    phases = {
        phase: Breakdown(depth=0, n_tokens=n_tokens, n_runs=3, n_groups=11, constants=_zeros(Constants),
                         sums=_zeros(PhaseTotals), operators=rows, modules=modules, layers=())
        for phase, n_tokens in (("prefill", 512), ("decode", 1))
    }  # fmt: skip
    fields: dict[str, object] = {
        "artifact_sha256": "0" * 64, "env_id": BOARDS[0].id, "model": "smollm2-135m", "arch": "llama",
        "level": "Q4_K_M", "bpw": 4.85, "n_params": 134_515_008, "weights": "real", "standin_for": None,
        "cpu_model": "Test CPU",
        "llama_commit": "c0ffee", "backends": ("CPU",), "flash_attn": True, "n_threads": 2, "repack": True, "reps": 3,
        "ceiling_bytes_per_s": None, "phases": phases,
    }  # fmt: skip
    return msgspec.convert(msgspec.to_builtins(fields | changes), OperatorReport)


def _operator(name: str, share: float) -> BreakdownRow:
    return BreakdownRow(name=name, calls=30, ns=share * 2e7, share=share, n_bytes=10**8, n_flops=10**9,
                        bytes_per_s=1e10, flops_per_s=1e11, of_ceiling=None)  # fmt: skip


def _zeros(kind: type) -> object:
    return kind(**{field.name: 0 for field in msgspec.structs.fields(kind) if field.required})
