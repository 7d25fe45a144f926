"""The race: the right choice of a planted truth, its error, what is measured, and what is reported."""

import math
import random
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import pytest

from profiler.pick.quality import Qualities
from profiler.pick.race import Race
from profiler.pick.records import Entry, Observed, Quality, RaceOptions, RoundStep, Step, Verdict
from profiler.recommend.records import Limits
from profiler.recommend.rule import Bar
from quant.base.errors import UserError
from tests.support.planted import Conditions, World, run_race

MIB = 1 << 20
BITS = {"Q8_0": 8.5, "Q5_0": 5.5, "Q4_0": 4.5, "Q2_K": 3.0}
KLD = {"Q8_0": 0.0004, "Q5_0": 0.012, "Q4_0": 0.03, "Q2_K": 0.3}
DECODE = {"Q8_0": 10.0, "Q5_0": 16.0, "Q4_0": 20.0, "Q2_K": 26.0}
GAIN = {1: 1.0, 2: 1.8, 4: 3.0}


def entries(*, synthetic: bool = False, levels: tuple[str, ...] = tuple(BITS)) -> list[Entry]:
    return [
        Entry(
            key=f"{level} t{n}",
            level=level,
            n_threads=n,
            n_threads_batch=n,
            bpw=BITS[level],
            file_bytes=int(BITS[level] * 10) * MIB,
            memory_bytes=int(BITS[level] * 10 + 20) * MIB,
            synthetic=synthetic,
        )
        for level in levels
        for n in GAIN
    ]


class Device:
    """What answers a race: exact speeds but for a small wave, so that rounds repeat without being equal."""

    def __init__(self, decode: dict[str, float] | None = None, kld: dict[str, float] | None = None) -> None:
        self.decode, self.kld = decode or DECODE, kld or KLD
        self.memory = {level: int(bits * 10 + 20) * MIB for level, bits in BITS.items()}
        self.disturbed: Callable[[str, int], bool] = lambda _key, _number: False
        self.seen: list[Step] = []

    def speed(self, key: str) -> float:
        level, threads = key.split(" t")
        return self.decode[level] * GAIN[int(threads)]

    def answer(self, race: Race, step: Step) -> None:
        self.seen.append(step)
        if not isinstance(step, RoundStep):
            kld = self.kld[step.level]
            race.record_quality(step.level, step.n_windows, kld, kld * 0.2 / math.sqrt(step.n_windows))
            return
        disturbed = self.disturbed(step.key, step.number)
        speed = self.speed(step.key) * (1 + 0.004 * (len(self.seen) * 7 % 5 - 2)) * (0.7 if disturbed else 1)
        race.record_round(
            step.key,
            Observed(
                decode_tps=speed,
                prefill_tps=10 * speed,
                ttft_ms=12_800 / speed,
                model_rss_bytes=self.memory[step.key.split()[0]],
                wall_s=10,
                disturbed=disturbed,
            ),
        )

    def run(self, race: Race) -> Verdict:
        while (step := race.next()) is not None:
            assert len(self.seen) < 1000
            self.answer(race, step)
        return race.verdict()

    def n_rounds(self, key: str) -> int:
        return sum(isinstance(step, RoundStep) and step.key == key for step in self.seen)

    def n_windows(self, level: str) -> int:
        scored = [step.n_windows for step in self.seen if not isinstance(step, RoundStep) and step.level == level]
        return max(scored, default=0)

    def levels(self) -> set[str]:
        return {step.key.split()[0] if isinstance(step, RoundStep) else step.level for step in self.seen}


class NoisyDevice(Device):
    """Speeds with noise."""

    def __init__(self, seed: int, noise: float, decode: dict[str, float]) -> None:
        super().__init__(decode=DECODE | decode)
        self._draw, self._sd = random.Random(seed), noise

    def speed(self, key: str) -> float:
        return super().speed(key) * math.exp(self._draw.gauss(0, self._sd))


class Case(NamedTuple):
    limits: Limits
    chosen: str


@pytest.mark.parametrize(
    "case",
    [
        Case(Limits(), "Q4_0 t4"),  # Q2_K is faster, and beyond the KLD of 0.05
        Case(Limits(max_kld=0.4), "Q2_K t4"),
        Case(Limits(max_kld=0.02), "Q5_0 t4"),
        Case(Limits(min_decode_tps=40), "Q5_0 t4"),  # the best quality that is fast enough
        Case(Limits(min_decode_tps=20, max_kld=0.1), "Q8_0 t4"),
        Case(Limits(min_prefill_tps=560), "Q4_0 t4"),
        Case(Limits(max_ttft_ms=250), "Q4_0 t4"),
        Case(Limits(max_memory_bytes=80 * MIB), "Q5_0 t4"),
        Case(Limits(max_file_bytes=50 * MIB), "Q4_0 t4"),
    ],
    ids=lambda case: "+".join(name for name, value in msgspec.structs.asdict(case.limits).items() if value) or "none",
)
def test_choice(case: Case) -> None:
    device = Device()
    verdict = device.run(Race(entries(), case.limits))
    assert (verdict.decided, verdict.chosen, verdict.tied) == (True, case.chosen, ())
    assert verdict.error <= RaceOptions().error
    assert device.n_rounds(case.chosen) == RaceOptions().confirm_rounds
    assert len(device.seen) < len(entries()) * RaceOptions().confirm_rounds / 2


def test_synthetic_weights_are_judged_by_bits() -> None:
    device = Device()
    verdict = device.run(Race(entries(synthetic=True), Limits()))
    assert verdict.chosen == "Q4_0 t4"
    assert {each.by for each in verdict.eliminated if each.key.startswith("Q2_K")} == {"quality"}
    assert "Q2_K" not in device.levels()
    with pytest.raises(UserError, match="--max-kld"):
        Race(entries(synthetic=True), Limits(max_kld=0.1))


def test_what_no_limit_admits_is_never_measured() -> None:
    device = Device()
    verdict = device.run(Race(entries(), Limits(max_memory_bytes=80 * MIB, min_decode_tps=1)))
    assert "Q8_0" not in device.levels()
    first = [each for each in verdict.eliminated if each.at_step == 0]
    assert {(each.key, each.by, each.after_rounds) for each in first} == {(f"Q8_0 t{n}", "memory", 0) for n in GAIN}


def test_measured_memory_counts_beside_the_estimate() -> None:
    device = Device()
    device.memory["Q5_0"] = 90 * MIB
    verdict = device.run(Race(entries(), Limits(max_memory_bytes=80 * MIB)))
    assert verdict.chosen == "Q4_0 t4"


def test_threads_are_carried_over() -> None:
    device = Device()
    device.run(Race(entries(synthetic=True), Limits()))
    learnt = [level for level in ("Q8_0", "Q5_0", "Q4_0") if all(device.n_rounds(f"{level} t{n}") for n in GAIN)]
    assert learnt == ["Q8_0", "Q4_0"]
    assert (device.n_rounds("Q5_0 t1"), device.n_rounds("Q5_0 t2")) == (0, 0)


def test_windows_are_scored_only_where_they_decide() -> None:
    device = Device(kld=KLD | {"Q4_0": 0.045})
    verdict = device.run(Race(entries(), Limits()))
    windows = {level: device.n_windows(level) for level in BITS}
    assert verdict.chosen == "Q4_0 t4"
    assert windows["Q2_K"] <= 8 < windows["Q4_0"]
    assert windows["Q8_0"] == 0  # much slower: its quality does not matter


def test_nothing_fits() -> None:
    device = Device()
    verdict = device.run(Race(entries(), Limits(min_decode_tps=100)))
    assert (verdict.decided, verdict.chosen, verdict.open) == (True, None, ())
    assert {each.by for each in verdict.eliminated} == {"limit"}
    none = Race(entries(), Limits(max_file_bytes=1))
    assert none.next() is None
    assert none.verdict().chosen is None


@pytest.mark.parametrize(
    ("synthetic", "levels", "why"),
    [(False, ("Q2_K",), "KLD"), (True, ("Q2_K",), "bits per weight"), (True, ("Q2_K", "Q4_0"), "")],
    ids=["kld", "bits", "some"],
)
def test_the_bar_of_quality_needs_no_limit(*, synthetic: bool, levels: tuple[str, ...], why: str) -> None:
    verdict = Device().run(Race(entries(synthetic=synthetic, levels=levels), Limits()))
    assert verdict.chosen == ("Q4_0 t4" if "Q4_0" in levels else None)
    assert why in verdict.reason


def test_failures_and_absent_levels_are_out() -> None:
    race, device = Race(entries(), Limits()), Device()
    race.record_absent("Q4_0", "the tensor is too narrow")
    while (step := race.next()) is not None:
        if isinstance(step, RoundStep) and step.key == "Q5_0 t4":
            race.record_failure(step.key, "killed")
        else:
            device.answer(race, step)
    verdict = race.verdict()
    assert verdict.chosen == "Q8_0 t4"  # 30 tokens/s; the best of Q5_0 that is left has 28.8
    assert {each.key: each.by for each in verdict.eliminated}["Q4_0 t1"] == "absent"
    assert [each.why for each in verdict.eliminated if each.by == "failure"] == ["killed"]


def test_all_fail() -> None:
    race = Race(entries(), Limits())
    while (step := race.next()) is not None:
        assert not isinstance(step, RoundStep) or step.number == 0
        if isinstance(step, RoundStep):
            race.record_failure(step.key, "killed")
        else:
            race.record_no_quality(step.level, "no vocabulary")
    assert race.verdict().chosen is None
    assert race.verdict().reason == "nothing could be measured"
    assert len(race.verdict().eliminated) == len(entries())


@pytest.mark.parametrize(
    ("kld", "memory", "chosen"),
    [
        ({"Q5_0": 0.01, "Q4_0": 0.03}, {"Q5_0": 90, "Q4_0": 70}, "Q5_0 t4"),  # quality comes before memory
        ({"Q5_0": 0.02, "Q4_0": 0.02}, {"Q5_0": 90, "Q4_0": 70}, "Q4_0 t4"),  # memory before bits
        ({"Q5_0": 0.02, "Q4_0": 0.02}, {"Q5_0": 70, "Q4_0": 70}, "Q5_0 t4"),  # bits
    ],
    ids=["quality", "memory", "bits"],
)
def test_ties_are_broken(kld: dict[str, float], memory: dict[str, int], chosen: str) -> None:
    device = Device(decode=DECODE | {"Q5_0": 20.0}, kld=KLD | kld)
    device.memory |= {level: mib * MIB for level, mib in memory.items()}
    verdict = device.run(Race(entries(levels=("Q5_0", "Q4_0")), Limits()))
    other = next(f"{level} t4" for level in kld if not chosen.startswith(level))
    assert (verdict.chosen, verdict.tied, verdict.runner_up) == (chosen, (other,), other)
    assert device.n_rounds(other) >= RaceOptions().confirm_rounds


@pytest.mark.parametrize("limits", [Limits(), Limits(min_decode_tps=59)], ids=["speed", "limit"])
def test_what_more_rounds_would_hardly_settle_gets_few_beyond_a_confirmation(limits: Limits) -> None:
    most = []
    for seed in range(6):
        device = NoisyDevice(seed, 0.08, {"Q5_0": 20.0, "Q8_0": 19.8})
        verdict = device.run(Race(entries(synthetic=True, levels=("Q8_0", "Q5_0", "Q4_0")), limits))
        near = [f"{level} t4" for level in ("Q8_0", "Q5_0", "Q4_0")]
        assert verdict.chosen in near
        most.append(max(map(device.n_rounds, near)))
    assert min(most) < RaceOptions().confirm_rounds + 3
    assert sum(most) / len(most) < (RaceOptions().confirm_rounds + RaceOptions().most_rounds) / 2


def test_what_more_rounds_can_settle_gets_them() -> None:
    n_rounds = []
    for seed in range(6):
        device = NoisyDevice(seed, 0.02, {"Q5_0": 20.0 / 1.01})
        verdict = device.run(Race(entries(synthetic=True, levels=("Q5_0", "Q4_0")), Limits()))
        assert verdict.error <= RaceOptions().error
        n_rounds.append(device.n_rounds("Q4_0 t4"))
    assert max(n_rounds) > RaceOptions().confirm_rounds


def test_with_a_quantized_cache_the_unquantized_file_is_scored_too() -> None:
    levels = {"F16": 16.0, "Q8_0": 8.5}
    bar = Bar(max_kld=0.05)
    exact, quantized = (Qualities(levels, bar, (4, 8), by_kld=True, f16_cache=f16) for f16 in (True, False))
    assert (exact.next_windows("F16"), exact.meets_bar("F16")) == (None, 1.0)
    assert quantized.next_windows("F16") == 4
    assert quantized.meets_bar("F16") < 1
    quantized.scored["F16"] = Quality(n_windows=8, kld=0.2, kld_se=0.01)
    assert quantized.meets_bar("F16") == 0


def test_disturbed_rounds_neither_decide_nor_vanish() -> None:
    device = Device()
    device.disturbed = lambda key, number: key == "Q4_0 t4" and number % 3 != 2
    verdict = device.run(Race(entries(), Limits()))
    assert verdict.chosen == "Q4_0 t4"
    (standing,) = [each for each in verdict.standings if each.key == verdict.chosen]
    assert standing.n_rounds == device.n_rounds("Q4_0 t4")
    assert standing.n_disturbed >= 4


@pytest.mark.parametrize("kind", [Limits(), Limits(min_decode_tps=35)], ids=["speed", "quality"])
def test_the_same_rounds_lead_to_the_same_state(kind: Limits) -> None:
    device, race = Device(), Race(entries(), kind)
    states = []
    while (step := race.next()) is not None:
        states.append((step, race.verdict()))
        device.answer(race, step)
    again = Race(entries(), kind)
    replayed = Device()
    for step, verdict in states:
        assert again.next() == step
        if len(replayed.seen) % 5 == 0:  # a verdict changes nothing
            assert again.verdict() == verdict
        replayed.answer(again, step)
    assert again.verdict() == race.verdict()


def test_verdict_within_a_budget() -> None:
    race, device = Race(entries(), Limits()), Device()
    assert race.verdict().chosen is None
    while device.n_rounds("Q4_0 t4") == 0 and (step := race.next()) is not None:
        device.answer(race, step)
    verdict = race.verdict()
    assert not verdict.decided
    assert verdict.chosen == "Q4_0 t4"
    assert verdict.error > RaceOptions().error


def test_error_holds() -> None:
    """Of the choices that are called sure, at most the stated share is wrong, with noise, drift and another program."""
    wrong = sure = 0
    for seed in range(25):
        world = World(seed, Conditions(noise=0.05), levels={"Q8_0": 8.5, "Q4_1": 5.0, "Q4_0": 4.55, "IQ4_NL": 4.5})
        race = Race(world.entries, Limits())
        run_race(world, race)
        verdict = race.verdict()
        if verdict.error <= RaceOptions().error:
            sure += 1
            wrong += verdict.chosen not in world.right(Limits())
    assert sure >= 15
    assert wrong <= 1
