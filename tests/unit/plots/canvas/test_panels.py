"""What may stand in one chart: grouping, names, the choice of threads, the ends of a bar."""

from typing import Any

import pytest

from plots.canvas.figures import decode_ms, decode_tps, peak_mib
from plots.canvas.panels import at_common_threads, distinct, levels_of, models_of, pages, panels
from profiler.records.span import Span
from tests.support.summaries import failed, summary

OTHER_SETTINGS: list[tuple[str, Any]] = [
    ("env_id", "0123456789ab"),
    ("label", "my build"),
    ("kind", "estimated"),
    ("mode", "request"),
    ("workload", "custom"),
    ("n_prompt", 64),
    ("n_gen", 64),
    ("n_depth", 512),
    ("n_ctx", 4096),
    ("n_batch", 512),
    ("n_ubatch", 128),
    ("n_outputs_max", 1),
    ("type_k", "q8_0"),
    ("type_v", "q8_0"),
    ("flash_attn_asked", "on"),
    ("load_mode", "none"),
    ("repack", False),
    ("device", "gpu"),
    ("cores", (0, 1)),
]


@pytest.mark.parametrize(("field", "value"), OTHER_SETTINGS)
def test_cells_that_differ_in_a_setting_never_share_a_panel(field: str, value: Any) -> None:
    found = panels([summary(), summary(**{field: value}), summary(quant="Q4_0")])
    assert [[cell.artifact.level for cell in panel.cells] for panel in found] == [["Q8_0", "Q4_0"], ["Q8_0"]]
    assert len({(panel.env_id, panel.load) for panel in found}) == 2


def test_files_and_threads_vary_within_a_panel() -> None:
    (panel,) = panels([summary(), summary(model="other", n_params=5), summary(quant="Q4_0"), summary(n_threads=4)])
    assert len(panel.cells) == 4
    assert panel.load == "bench"


def test_a_custom_load_is_named_by_its_tokens_and_a_workload_by_its_letters() -> None:
    (panel,) = panels([summary(workload="custom", n_prompt=16, n_gen=4, n_depth=32)])
    assert panel.load == "p16-n4-d32"
    (panel,) = panels([summary(workload="../../etc/x")])
    assert panel.load == "______etc_x"


def test_two_settings_of_one_load_have_names_of_their_own_in_each_environment() -> None:
    found = panels([summary(), summary(n_ctx=64), summary(env_id="other"), summary(env_id="other", n_ctx=64)])
    assert [panel.load for panel in found] == ["bench", "bench-2", "bench", "bench-2"]


def test_a_cell_without_figures_is_lost_and_one_with_some_is_both() -> None:
    (panel,) = panels([summary(), failed(quant="F16"), summary(quant="Q4_0", status="failed", rounds=2)])
    assert [cell.artifact.level for cell in panel.cells] == ["Q8_0", "Q4_0"]
    assert [cell.artifact.level for cell in panel.lost] == ["F16", "Q4_0"]


def test_levels_go_by_bits_and_models_by_parameters() -> None:
    cells = [
        summary(quant="Q4_0", bpw=4.5, model="b", n_params=2),
        summary(quant="F16", bpw=16.0, model="a", n_params=3),
        summary(quant="Q8_0", bpw=8.5, model="c", n_params=1),
    ]
    assert levels_of(cells) == ["F16", "Q8_0", "Q4_0"]
    assert models_of(cells) == ["c", "b", "a"]


def test_made_up_weights_beside_real_ones_are_named_so() -> None:
    both = distinct([summary(), summary(weights="synthetic", standin_for="tiny")])
    assert [cell.artifact.model for cell in both] == ["tiny", "tiny (synthetic)"]
    # Alone they need no such name: the line under the title says it of the whole chart.
    assert [cell.artifact.model for cell in distinct([summary(weights="synthetic")])] == ["tiny"]


def test_files_of_one_name_and_level_get_levels_of_their_own() -> None:
    cells = [summary(artifact_sha256="a" * 64), summary(artifact_sha256="b" * 64), summary(quant="Q4_0")]
    assert [cell.artifact.level for cell in distinct(cells)] == ["Q8_0 aaaaaa", "Q8_0 bbbbbb", "Q4_0"]
    # One file with several thread counts is one file.
    assert {cell.artifact.level for cell in distinct([summary(n_threads=1), summary(n_threads=2)])} == {"Q8_0"}


def test_an_imatrix_stands_in_the_levels_name() -> None:
    plain, with_imatrix = distinct([summary(artifact_sha256="a" * 64), summary(artifact_sha256="b" * 64, imatrix="c")])
    assert (plain.artifact.level, with_imatrix.artifact.level) == ("Q8_0", "Q8_0 imatrix")


def test_a_strangers_name_becomes_one_bounded_line() -> None:
    (cell,) = distinct([summary(model="a\x00b\x1b[31m\n\u2028c\u202e" + "d" * 9999, quant="Q" * 999)])
    assert cell.artifact.model.startswith("a b [31m c ddd")
    assert cell.artifact.model.isprintable()
    assert (len(cell.artifact.model) <= 200, len(cell.artifact.level)) == (True, 24)


def test_pages_hold_every_model_once_the_smallest_first() -> None:
    cells = [summary(model=f"m{number}", n_params=number + 1) for number in range(5)]
    (panel,) = panels([*cells, summary(model="m0", n_params=1, n_threads=2), failed(model="m9")])
    names, parts = zip(*pages("bench", panel, 2), strict=True)
    assert names == ("bench", "bench-page2", "bench-page3")
    assert [models_of(part.cells) for part in parts] == [["m0", "m1"], ["m2", "m3"], ["m4"]]
    assert [len(part.cells) for part in parts] == [3, 2, 1]
    assert all(part.lost == panel.lost for part in parts)
    (empty,) = panels([failed()])
    assert [part.cells for _, part in pages("bench", empty, 2)] == [[]]


def test_the_thread_count_is_the_largest_that_every_file_was_measured_at() -> None:
    cells = [summary(n_threads=threads) for threads in (1, 2, 4)]
    cells += [summary(quant="Q4_0", n_threads=threads) for threads in (1, 2)]
    assert {(cell.artifact.level, cell.config.n_threads) for cell in at_common_threads(cells)} == {
        ("Q8_0", 2),
        ("Q4_0", 2),
    }


def test_where_no_count_is_common_the_one_of_most_files_is_taken() -> None:
    cells = [summary(n_threads=8), summary(quant="Q4_0", n_threads=2), summary(quant="F16", n_threads=2)]
    assert {cell.artifact.level for cell in at_common_threads(cells)} == {"Q4_0", "F16"}


def test_of_several_prefill_counts_the_equal_one_is_taken_else_the_largest() -> None:
    cells = [summary(n_threads=2, n_threads_batch=batch) for batch in (1, 2, 4)]
    assert [cell.config.n_threads_batch for cell in at_common_threads(cells)] == [2]
    assert [cell.config.n_threads_batch for cell in at_common_threads([cells[2], cells[0]])] == [4]


def test_the_ends_of_a_bar_are_in_the_units_of_the_axis() -> None:
    def ends(figure: Span | None) -> tuple[float, float, float]:
        assert figure is not None
        return figure.value, figure.lo, figure.hi

    assert ends(decode_tps(summary())) == (20.0, 16.0, 25.0)
    assert ends(decode_tps(summary(decode_tps_lo=None, decode_tps_hi=None))) == (20.0, 10.0, 40.0)
    assert ends(peak_mib(summary())) == (200, 190, 220)
    assert ends(decode_ms(summary())) == (50.0, 40.0, 62.5)
    assert (decode_tps(failed()), decode_ms(failed()), peak_mib(failed())) == (None, None, None)
