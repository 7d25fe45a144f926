"""Energy: the readers on recorded system text, what a round keeps of them, and the joules that follow."""

import time
from pathlib import Path

import msgspec
import pytest

from profiler.analysis.joules import joules_of
from profiler.analysis.summarise import summarise
from profiler.device.bandwidth_record import Ceiling, KernelRun
from profiler.device.energy import find as energy
from profiler.device.energy import ina3221, pmic, powermetrics, rapl
from profiler.device.energy.find import find_meter
from profiler.device.energy.meter import Meter, NoMeter
from profiler.device.os import raspberry
from profiler.device.power_sampler import sample as sample_power
from profiler.device.power_sampler import tracing
from profiler.doctor.text import describe_meter
from profiler.measure.loop import Measured, Probes, measure
from profiler.measure.worker import Answer, Job, _energy_reader
from profiler.records.energy import EnergyReading, EnergySpan, EnergyTrace
from profiler.records.record import Record
from profiler.records.round import Conditions, Memory, Round
from profiler.sweep.instruments import Instruments, while_timed
from tests.support.cells import config
from tests.support.rounds import a_round, no_round, results, sample
from tests.support.scripted_engine import FakeClock, FakeEngine
from tests.support.systems import Files, tree

S = 1_000_000_000  # nanoseconds
POWERCAP = "sys/class/powercap"
PI5 = "Raspberry Pi 5 Model B Rev 1.0"


def rapl_zone(zone: str, name: str, energy_uj: str = "1000", range_uj: str = "262143328850") -> Files:
    folder = f"{POWERCAP}/{zone}"
    return {f"{folder}/name": name, f"{folder}/energy_uj": energy_uj, f"{folder}/max_energy_range_uj": range_uj}


# A laptop's: the platform, one package with its cores and graphics, and the memory.
LAPTOP_ZONES = (
    {f"{POWERCAP}/intel-rapl/enabled": "1"},
    rapl_zone("intel-rapl:0", "package-0", "7000"),
    rapl_zone("intel-rapl:0:0", "core", "4000"),
    rapl_zone("intel-rapl:0:1", "uncore", "200"),
    rapl_zone("intel-rapl:0:2", "dram", "900", "65712999613"),
    rapl_zone("intel-rapl:1", "psys", "30000"),
    rapl_zone("intel-rapl-mmio:0", "package-0", "7000"),
)

# `vcgencmd pmic_read_adc` of a Pi 5, shortened.
PMIC = """\
   3V7_WL_SW_A current(0)=0.09758140A
     3V3_SYS_A current(1)=0.10000000A
    VDD_CORE_A current(7)=2.00000000A
        HDMI_A current(22)=0.00000000A
   3V7_WL_SW_V volt(8)=3.70000000V
     3V3_SYS_V volt(9)=3.30000000V
    VDD_CORE_V volt(15)=0.90000000V
        HDMI_V volt(23)=5.10000000V
       EXT5V_V volt(24)=5.16160000V
        BATT_V volt(25)=0.00000000V
"""

# `powermetrics -n 1 --samplers cpu_power` on an M1, shortened.
POWERMETRICS = """\
Machine model: MacBookAir10,1
*** Sampled system activity (Sat Mar 16 12:00:00 2024 +0100) (503.41ms elapsed) ***

**** Processor usage ****

E-Cluster Online: 100%
E-Cluster HW active frequency: 1017 MHz
CPU 0 frequency: 1017 MHz
CPU Power: 5321 mW
GPU Power: 12 mW
ANE Power: 0 mW
Combined Power (CPU + GPU + ANE): 5333 mW
"""


# --- sources


def test_rapl_counts_packages_and_memory_and_nothing_twice(tmp_path: Path) -> None:
    found = rapl.find(tree(tmp_path, *LAPTOP_ZONES))
    assert isinstance(found, Meter)
    assert (found.source, found.covers, found.interval_ms) == ("RAPL", "CPU packages and memory", None)
    assert found.read_counters_uj is not None
    assert found.read_counters_uj() == {"intel-rapl:0 package-0": 7000, "intel-rapl:0:2 dram": 900}
    assert found.ranges_uj == {"intel-rapl:0 package-0": 262143328850, "intel-rapl:0:2 dram": 65712999613}
    assert describe_meter(found) == "RAPL, a counter, read before and after decode: CPU packages and memory"


def test_rapl_that_only_root_may_read_is_a_reason_with_the_command(tmp_path: Path) -> None:
    root = tree(tmp_path, *LAPTOP_ZONES)
    (root / POWERCAP / "intel-rapl:0/energy_uj").unlink()  # as unreadable to this user
    found = rapl.find(root)
    assert isinstance(found, NoMeter)
    assert "only root may read it" in found.reason
    assert "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj" in found.reason
    assert describe_meter(found).startswith("none: the CPU counts its energy (RAPL)")


def test_a_pi_5_adds_up_its_rails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raspberry, "vcgencmd", lambda *words: PMIC if words == ("pmic_read_adc",) else "")
    found = pmic.find(PI5)
    assert isinstance(found, Meter)
    assert (found.source, found.interval_ms) == ("Pi 5 PMIC", 500)
    assert found.read_watts is not None
    # The 5 V input has no current of its own: it feeds the rails.
    assert found.read_watts() == pytest.approx(0.0975814 * 3.7 + 0.1 * 3.3 + 2.0 * 0.9)


def test_other_raspberries_and_a_silent_one_give_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raspberry, "vcgencmd", lambda *_: "")
    silent, older = pmic.find(PI5), pmic.find("Raspberry Pi 4 Model B Rev 1.4")
    assert isinstance(silent, NoMeter)
    assert "group video" in silent.reason
    assert older == NoMeter("this board has no power sensor; a Raspberry Pi 5 has one")
    assert pmic.find("Some other board") is None
    assert pmic.find(None) is None
    assert pmic.parse_watts('error=1 error_msg="Command not registered"') is None


def hwmon(number: int, **files: str) -> Files:
    return {f"sys/class/hwmon/hwmon{number}/{name}": text for name, text in files.items()}


def test_a_jetson_reads_the_module_s_input(tmp_path: Path) -> None:
    cpu = {"in1_label": "VDD_CPU_GPU_CV", "in1_input": "5000", "curr1_input": "9999"}
    whole = {"in2_label": "VDD_IN", "in2_input": "4980", "curr2_input": "1500"}
    root = tree(tmp_path, hwmon(0, name="tmp451"), hwmon(1, name="ina3221", **cpu, **whole))
    found = ina3221.find(root)
    assert isinstance(found, Meter)
    assert found.read_watts is not None
    assert found.read_watts() == pytest.approx(4.98 * 1.5)
    (root / "sys/class/hwmon/hwmon1/curr2_input").unlink()
    assert found.read_watts() is None


def test_a_jetson_without_that_channel_is_not_guessed(tmp_path: Path) -> None:
    root = tree(tmp_path, hwmon(0, name="ina3221", in1_label="VDD_GPU_SOC", in1_input="5000", curr1_input="100"))
    assert ina3221.find(root) == NoMeter("the power sensor INA3221 has no channel for the whole module")
    assert ina3221.find(tmp_path / "elsewhere") is None


def test_powermetrics_reports_the_combined_power() -> None:
    assert powermetrics.parse_watts(POWERMETRICS) == pytest.approx(5.333)
    assert powermetrics.parse_watts("sudo: a password is required") is None


def test_a_mac_that_asks_for_a_password_has_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powermetrics, "read_watts", lambda interval_ms=0: None)
    found = powermetrics.find()
    assert isinstance(found, NoMeter)
    assert "run sudo -v just before" in found.reason


def test_a_device_without_a_sensor_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy.sys, "platform", "linux")
    found = find_meter(None, tmp_path)
    assert isinstance(found, NoMeter)
    assert "no sensor" in found.reason
    assert energy.counters(tmp_path)() == {}
    read = energy.counters(tree(tmp_path, *LAPTOP_ZONES))
    assert read() == {"intel-rapl:0 package-0": 7000, "intel-rapl:0:2 dram": 900}


# --- what the measuring loop reads


def measured_energy(**changes: object) -> list[tuple[int, int]]:
    clock = FakeClock()

    def read() -> EnergyReading:
        return EnergyReading(at_ns=clock.now_ns)

    probes = Probes(memory=Memory, conditions=Conditions, energy=read)
    found = measure(
        FakeEngine(clock), Path("no such file"), config(**changes), reps=2, seed=0, clock=clock, probes=probes
    )
    for each in found.samples:
        assert each.decode_energy is not None
    return [
        (each.decode_energy.after.at_ns - each.decode_energy.before.at_ns, sum(each.decode_ns))
        for each in found.samples
        if each.decode_energy
    ]


@pytest.mark.parametrize("changes", [{}, {"mode": "request"}, {"n_depth": 9}])
def test_the_interval_covers_the_decode_steps_and_nothing_else(changes: dict[str, object]) -> None:
    for interval_ns, decode_ns in measured_energy(**changes):
        assert interval_ns == decode_ns > 0


def test_a_worker_reads_the_clock_that_its_parent_samples_by() -> None:
    read = _energy_reader()
    before, first, second, after = time.perf_counter_ns(), read(), read(), time.perf_counter_ns()
    assert before <= first.at_ns <= second.at_ns <= after
    assert first.counters_uj.keys() == second.counters_uj.keys()


# --- joules


def span(start_ns: int, end_ns: int, before: dict[str, int], after: dict[str, int]) -> EnergySpan:
    return EnergySpan(
        before=EnergyReading(at_ns=start_ns, counters_uj=before), after=EnergyReading(at_ns=end_ns, counters_uj=after)
    )


COUNTED = EnergyTrace(source="RAPL", covers="CPU packages and memory", ranges_uj={"package": 10_000_000, "dram": 5_000})


def test_counters_are_added_up() -> None:
    found = joules_of(span(0, S, {"package": 1_000_000, "dram": 10}, {"package": 4_500_000, "dram": 500_010}), COUNTED)
    assert found == pytest.approx(4.0)


def test_a_counter_that_began_anew_goes_on() -> None:
    found = joules_of(span(0, S, {"package": 9_000_000}, {"package": 500_000}), COUNTED)
    assert found == pytest.approx(1.5)


@pytest.mark.parametrize(
    "odd",
    [
        span(0, S // 20, {"package": 1}, {"package": 2}),  # too short for a counter of a thousand steps a second
        span(0, S, {}, {}),
        span(0, S, {"package": 7}, {"package": 7}),  # does not move, as in some virtual machines
        span(0, S, {"package": 1}, {"dram": 2}),
        span(0, S, {"other": 9}, {"other": 2}),  # restarted at an unknown value
        span(S, 0, {"package": 1}, {"package": 2}),
        None,
    ],
)
def test_what_cannot_be_told_is_not_guessed(odd: EnergySpan | None) -> None:
    assert joules_of(odd, COUNTED) is None


SAMPLED = EnergyTrace(
    source="Pi 5 PMIC",
    covers="the rails",
    interval_ms=500,
    at_ns=tuple(range(0, 5 * S, S // 2)),
    watts=(2.0, 2.0, 5.0, 6.0, 7.0, 6.0, 2.0, 2.0, 2.0, 2.0),
)


def test_samples_within_decode_are_averaged_over_its_time() -> None:
    # From 1.0 to 2.5 s lie 5, 6, 7 and 6 W.
    assert joules_of(span(S, 5 * S // 2, {}, {}), SAMPLED) == pytest.approx(6.0 * 1.5)


def test_under_three_samples_there_is_no_figure() -> None:
    assert joules_of(span(S, 19 * S // 10, {}, {}), SAMPLED) is None
    assert joules_of(span(S, 2 * S, {}, {}), SAMPLED) is not None


def test_a_round_without_a_trace_has_no_joules() -> None:
    assert joules_of(span(0, S, {"package": 1}, {"package": 2}), None) is None


def counted_round(index: int, *joules: float) -> Round:
    samples = [
        msgspec.structs.replace(
            sample(decode_ms=(250,) * 4), decode_energy=span(0, S, {"package": 0}, {"package": round(each * 1e6)})
        )
        for each in joules
    ]
    return msgspec.structs.replace(a_round(index, *samples), energy=COUNTED)


def test_joules_per_token_are_medians_over_repetitions_and_rounds() -> None:
    (cell,) = summarise(results(counted_round(0, 4, 8, 100), counted_round(1, 2, 2, 2), counted_round(2, 50, 60, 70)))
    assert cell.energy.joules_per_token == pytest.approx(8 / 4)
    (cell,) = summarise(results(a_round()))
    assert cell.energy.joules_per_token is None


# --- during a round


def test_a_sensor_is_looked_at_until_the_end_and_gaps_stay() -> None:
    clock = iter([0, 10, 100, 200, 230])
    watts = iter([3.0, None, 5.0])
    waits = iter([False, False, True])
    found: list[tuple[int, float]] = []
    sample_power(lambda: next(watts), lambda: next(clock), lambda: next(waits), found)
    assert found == [(5, 3.0), (215, 5.0)]


def test_a_sampled_source_leaves_its_samples() -> None:
    meter = Meter(source="INA3221", covers="the whole module", interval_ms=1, read_watts=lambda: 5.0)
    with tracing(meter) as trace_of:
        pass
    trace = trace_of()
    assert (trace.source, trace.interval_ms) == ("INA3221", 1)
    assert set(trace.watts) == {5.0}
    assert len(trace.at_ns) == len(trace.watts) >= 1


def test_only_samples_taken_while_timed_are_kept() -> None:
    decodes = [span(S, 3 * S // 2, {}, {}), span(3 * S, 3 * S, {}, {})]
    record = a_round()
    assert record.buffers is not None
    assert record.in_force is not None
    measured = Measured(
        load_ns=0,
        context_ns=0,
        tokenize_ns=0,
        warmup_ns=0,
        samples=tuple(msgspec.structs.replace(sample(), decode_energy=each) for each in decodes),
        memory={},
        buffers=record.buffers,
        in_force=record.in_force,
    )
    found = while_timed(SAMPLED, Answer(measured=measured))
    assert (found.at_ns, found.watts) == ((S, 3 * S // 2, 3 * S), (5.0, 6.0, 2.0))
    assert while_timed(SAMPLED, Answer()).at_ns == ()


JOB = Job(path="no such file", config=config(), reps=1, seed=0)


def test_a_round_gets_its_ceiling_and_its_source(tmp_path: Path) -> None:
    kept = Ceiling(
        env_id="e", measured_at="t", runs=(KernelRun(kernel="read", n_threads=1, n_bytes=10, times_ns=(S,)),)
    )
    meter = rapl.find(tree(tmp_path, *LAPTOP_ZONES))
    assert isinstance(meter, Meter)
    instruments = Instruments(kept, meter)
    jobs: list[Job] = []
    written: list[Record] = []

    def run(job: Job) -> Answer:
        jobs.append(job)
        return Answer()

    write = instruments.writing(written.append)
    instruments.running(run)(JOB)
    write(a_round())
    write(a_round(1))  # not run by this one: its energy is nobody's
    write(no_round(2))
    assert [job.energy for job in jobs] == [True]
    first, second, failed = written
    assert isinstance(first, Round)
    assert isinstance(second, Round)
    assert first.read_ceiling_bytes_per_s == pytest.approx(10.0)
    assert first.energy == EnergyTrace(source="RAPL", covers="CPU packages and memory", ranges_uj=meter.ranges_uj)
    assert second.energy is None
    assert failed == no_round(2)


def test_without_either_nothing_changes() -> None:
    instruments = Instruments(None, None)
    jobs: list[Job] = []
    written: list[Record] = []

    def run(job: Job) -> Answer:
        jobs.append(job)
        return Answer()

    instruments.running(run)(JOB)
    instruments.writing(written.append)(a_round())
    assert (jobs, written) == ([JOB], [a_round()])


def test_what_older_programs_wrote_still_reads() -> None:
    text = msgspec.json.encode(a_round())
    older = text.replace(b',"read_ceiling_bytes_per_s":null', b"").replace(b',"energy":null', b"")
    older = older.replace(b',"decode_energy":null', b"")
    assert older != text
    assert msgspec.json.decode(older, type=Round) == a_round()


def test_a_figure_says_its_source_and_a_missing_one_why() -> None:
    def words(record: Round) -> tuple[str | None, str | None, float | None]:
        (cell,) = summarise(results(record))
        return cell.energy.source, cell.energy.reason, cell.energy.joules_per_token

    source, reason, joules = words(a_round())
    assert (source, joules) == (None, None)
    assert reason == "no source of energy was found when it was measured; slmprof doctor says why"
    trace = EnergyTrace(source="Pi 5 PMIC", covers="the board", interval_ms=500)
    source, reason, joules = words(msgspec.structs.replace(a_round(), energy=trace))
    assert (source, joules) == ("Pi 5 PMIC (the board), a sample every 500 ms", None)
    assert reason == "decode was too short for Pi 5 PMIC, which needs 3 samples, or its figures stood still; raise -n"
    counted = msgspec.structs.replace(
        sample(), decode_energy=span(0, 1_000_000_000, {"package-0": 0}, {"package-0": 8_000_000})
    )
    trace = EnergyTrace(source="RAPL", covers="CPU packages")
    source, reason, joules = words(msgspec.structs.replace(a_round(0, counted), energy=trace))
    assert (source, reason) == ("RAPL (CPU packages), read before and after decode", None)
    assert joules == pytest.approx(2.0)
