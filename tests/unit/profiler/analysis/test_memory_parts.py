"""A round's memory split into parts. Sizes are whole MiB, chosen so that each part has a number of its own."""

from typing import Any

import msgspec
import pytest

from profiler.analysis.memory_parts import MemoryParts, memory_parts, typical
from profiler.records.round import Buffers, InForce, Memory, Round
from tests.support.rounds import MIB, a_round

BUFFERS = Buffers(
    weights_bytes=100 * MIB,
    weights_mapped=True,
    repacked_bytes=50 * MIB,
    kv_cache_bytes=20 * MIB,
    compute_bytes=300 * MIB,
    output_bytes=1 * MIB,
)
# anonymous, file-backed, the model's mapping, peak
PHASES = {
    "imported": (20, 10, 0, 30),
    "vocabulary": (27, 112, 100, 139),
    "loaded": (78, 112, 100, 190),
    "context": (100, 113, 100, 213),
    "decoded": (109, 114, 100, 225),
}


def phases(**changes: tuple[int, int, int, int]) -> dict[str, Memory]:
    return {
        name: Memory(
            rss_bytes=(anon + file_backed) * MIB,
            anon_bytes=anon * MIB,
            file_backed_bytes=file_backed * MIB,
            mapped_bytes=mapped * MIB,
            peak_rss_bytes=peak * MIB,
        )
        for name, (anon, file_backed, mapped, peak) in (PHASES | changes).items()
    }


def split(memory: dict[str, Memory] | None = None, buffers: Buffers = BUFFERS, **changes: Any) -> MemoryParts:
    found = memory_parts(a_round(memory=phases() if memory is None else memory, buffers=buffers, **changes))
    assert found is not None
    return found


def resident_mib(found: MemoryParts) -> dict[str, float]:
    return {part.name: part.resident_bytes / MIB for part in found.parts}


def test_every_part_comes_from_its_own_source() -> None:
    found = split()
    assert resident_mib(found) == {
        "weights, mapped": 100,  # the system's figure
        "weights, copied": 0,
        "weights, repacked": 50,
        "KV cache": 20,
        "compute buffer": 9,  # 109 - 100, of 300 set aside
        "output buffer": 1,
        "runtime": 7 + 4,  # 27 - 20 before a weight was read; 114 - 10 - 100 of libraries
    }
    assert found.part("compute buffer").allocated_bytes == 300 * MIB


def test_the_parts_the_sum_and_the_remainder_add_up_to_what_was_measured() -> None:
    found = split()
    assert (found.baseline_bytes, found.peak_bytes) == (30 * MIB, 225 * MIB)
    assert found.model_rss_bytes == 195 * MIB
    assert found.sum_bytes == 191 * MIB
    assert found.remainder_bytes == 4 * MIB
    assert found.remainder_share == pytest.approx(4 / 195)
    assert (found.anon_bytes, found.file_backed_bytes) == (89 * MIB, 104 * MIB)


def test_of_a_mapping_counts_what_is_resident() -> None:
    found = split(phases(decoded=(109, 74, 60, 185)))
    assert resident_mib(found)["weights, mapped"] == 60
    assert found.part("weights, mapped").allocated_bytes == 100 * MIB
    assert resident_mib(found)["runtime"] == 7 + 4


def test_weights_that_were_read_are_copied_and_anonymous() -> None:
    buffers = msgspec.structs.replace(BUFFERS, weights_mapped=False)
    found = split(phases(vocabulary=(27, 12, 0, 39), decoded=(209, 14, 0, 225)), buffers)
    assert (resident_mib(found)["weights, mapped"], resident_mib(found)["weights, copied"]) == (0, 100)
    assert found.part("weights, copied").anon_bytes == 100 * MIB


def test_a_compute_buffer_is_never_more_than_what_was_set_aside() -> None:
    found = split(buffers=msgspec.structs.replace(BUFFERS, compute_bytes=5 * MIB))
    assert resident_mib(found)["compute buffer"] == 5


def test_a_buffer_that_the_log_forgot_is_found_in_the_remainder() -> None:
    found = split(buffers=msgspec.structs.replace(BUFFERS, repacked_bytes=0))
    assert found.remainder_bytes == (4 + 50) * MIB


def test_a_buffer_that_the_log_made_up_is_found_in_the_remainder() -> None:
    found = split(buffers=msgspec.structs.replace(BUFFERS, kv_cache_bytes=120 * MIB))
    assert found.remainder_bytes == (4 - 100) * MIB


def test_rounds_of_older_versions_leave_the_runtime_in_the_remainder() -> None:
    memory = phases()
    del memory["vocabulary"]
    found = split(memory)
    assert not found.runtime_known
    assert found.remainder_bytes == (4 + 11) * MIB


def test_on_macos_the_footprint_stands_for_private_memory_and_all_mapped_weights_count() -> None:
    memory = {
        name: Memory(
            rss_bytes=(anon + file_backed) * MIB, footprint_bytes=anon * MIB, peak_rss_bytes=(anon + file_backed) * MIB
        )
        for name, (anon, file_backed, _, _) in PHASES.items()
    }
    found = split(memory)
    assert resident_mib(found)["weights, mapped"] == 100
    assert resident_mib(found)["compute buffer"] == 9
    assert resident_mib(found)["runtime"] == 7
    assert (found.anon_bytes, found.file_backed_bytes) == (None, None)


def test_a_system_that_tells_only_the_resident_size_tells_no_runtime() -> None:
    memory = {name: Memory(rss_bytes=each.rss_bytes) for name, each in phases().items()}
    found = split(memory)
    assert not found.runtime_known
    assert resident_mib(found)["compute buffer"] == 109 + 114 - 100 - 113


@pytest.mark.parametrize("lacking", [{"memory": {}}, {"buffers": None}, {"memory": {"imported": Memory(rss_bytes=1)}}])
def test_what_was_not_measured_has_no_parts(lacking: dict[str, Any]) -> None:
    assert memory_parts(a_round(**lacking)) is None


def test_layers_on_a_gpu_have_no_parts() -> None:
    record = a_round(memory=phases(), buffers=BUFFERS)
    assert isinstance(record.in_force, InForce)
    on_gpu = msgspec.structs.replace(record, in_force=msgspec.structs.replace(record.in_force, n_layers_offloaded=3))
    assert memory_parts(on_gpu) is None


def test_of_several_rounds_the_one_in_the_middle_stands_for_all() -> None:
    found = [split(phases(decoded=(109, 114, 100, peak))) for peak in (260, 225, 240, 230)]
    assert typical(found).peak_bytes == 230 * MIB
    assert typical(found[:1]).peak_bytes == 260 * MIB


def test_an_older_results_file_still_reads() -> None:
    line = b'{"rss_bytes":1,"anon_bytes":null}'
    assert msgspec.json.decode(line, type=Memory).mapped_bytes is None
    assert isinstance(msgspec.json.decode(msgspec.json.encode(a_round()), type=Round), Round)
