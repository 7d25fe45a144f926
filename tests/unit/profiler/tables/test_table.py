"""The table: what stands in it, what is a tie, and that a stranger's text in it is only text."""

import re

import pytest

from profiler.records.cell_summary import CellSummary
from profiler.tables.format import clean
from profiler.tables.speed import render
from tests.support.summaries import ENVIRONMENT, MIB, environment, failed, request, summary


def table(*cells: CellSummary, messages: dict[str, str] | None = None) -> str:
    return render(cells, {ENVIRONMENT.id: ENVIRONMENT}, messages)


def rows(text: str) -> list[list[str]]:
    """Split the table's lines at its bars as a Markdown reader does, an escaped bar being text."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[part.strip() for part in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]] for line in lines]


def column(text: str, name: str) -> list[str]:
    head, _rule, *body = rows(text)
    return [row[head.index(name)] for row in body]


def test_without_cells_the_table_says_so() -> None:
    assert table() == "no cells are measured yet\n"


def test_two_files_of_one_name_and_level_are_two_rows_with_their_hashes() -> None:
    text = table(summary(artifact_sha256="a" * 64), summary(artifact_sha256="b" * 64), summary(quant="Q4_0"))
    assert column(text, "level") == ["Q8_0 aaaaaa", "Q8_0 bbbbbb", "Q4_0"]
    text = table(summary(), summary(imatrix="c" * 64, artifact_sha256="b" * 64))
    assert column(text, "level") == ["Q8_0", "Q8_0 imatrix"]


def test_a_whole_table_as_it_is_read() -> None:
    quick = summary(quant="Q4_0", bpw=4.5, file_bytes=53 * MIB, n_threads=2, n_threads_batch=4, decode_tps=30.0,
                    decode_tps_lo=28.0, decode_tps_hi=31.0, itl_p95_ms=35.04)  # fmt: skip
    slow = summary(prefill_tps=1234.5, prefill_tps_lo=1200.0, prefill_tps_hi=1300.0, decode_tps=1.5,
                   decode_tps_lo=1.4, decode_tps_hi=1.6, itl_p95_ms=700.0, flags=("noisy", "busy"))  # fmt: skip
    text = table(quick, slow)
    lines = text.splitlines()
    assert lines[:5] == [
        "## tiny (100.0M), bench: prefill of 512 and decode of 128 tokens, each at depth 0",
        "",
        "Test Board 5, Test CPU, 4 cores, 8.00 GiB; llama.cpp c0ffee, openmp threads, CPU",
        "medians over 6 rounds of 3 repetitions [95 % interval; overlapping intervals are a tie]",
        "",
    ]
    head, rule, *body = rows(text)
    assert head == ["level", "bpw", "file", "threads", "prefill t/s", "decode t/s", "ITL p95 ms", "memory", "flags"]
    assert [re.sub("-+", "-", part) for part in rule] == ["-", *["-:"] * 7, "-"]  # words to the left, numbers right
    assert body == [
        ["Q4_0", "4.50", "53.0 MiB", "2 / 4", "200.0 [160.0, 250.0]", "30.0 [28.0, 31.0] *", "35.0", "200.0 MiB", ""],
        ["Q8_0", "8.50", "100.0 MiB", "1", "1234 [1200, 1300]", "1.50 [1.40, 1.60]", "700.0", "200.0 MiB",
         "noisy, busy"],
    ]  # fmt: skip
    assert lines[9:] == [
        "",
        "- \\* fastest decode. memory: peak resident size without the process before the model was opened.",
    ]


@pytest.mark.parametrize("cells", [[summary()], [summary(), summary(quant="Q4_K_M", decode_tps=1000.0)], [request()]])
def test_the_columns_are_aligned(cells: list[CellSummary]) -> None:
    lines = [line for line in table(*cells).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(cells)
    bars = [[at for at, letter in enumerate(line) if letter == "|"] for line in lines]
    assert all(each == bars[0] for each in bars)


def test_a_request_has_a_time_to_first_token() -> None:
    text = table(request())
    assert "tiny (100.0M), chat: 128 tokens in, 128 out, decode at depth 128" in text
    assert column(text, "TTFT ms") == ["640.0 [600.0, 700.0]"]
    assert "TTFT" not in table(summary())


def test_intervals_that_overlap_are_a_tie() -> None:
    best = summary(quant="Q4_0", decode_tps=20.0, decode_tps_lo=18.0, decode_tps_hi=22.0)
    near = summary(quant="Q5_0", decode_tps=17.0, decode_tps_lo=16.0, decode_tps_hi=18.0)
    far = summary(quant="Q8_0", decode_tps=17.5, decode_tps_lo=17.2, decode_tps_hi=17.9)
    text = table(best, near, far)
    assert [figure.endswith("*") for figure in column(text, "decode t/s")] == [True, True, False]
    assert "fastest decode, a tie of Q4_0 with 1 thread and Q5_0 with 1 thread: each interval overlaps with" in text
    assert "- \\* fastest decode. memory" in table(best, far)


def test_without_intervals_smallest_and_largest_decide() -> None:
    few = {"rounds": 3, "decode_tps_lo": None, "decode_tps_hi": None}
    best = summary(quant="Q4_0", decode_tps=20.0, decode_tps_min=15.0, decode_tps_max=25.0, **few)
    near = summary(quant="Q8_0", decode_tps=12.0, decode_tps_min=10.0, decode_tps_max=15.0, **few)
    far = summary(quant="F16", decode_tps=12.0, decode_tps_min=10.0, decode_tps_max=14.9, **few)
    text = table(best, near, far)
    assert column(text, "decode t/s") == ["20.0 [15.0, 25.0] *", "12.0 [10.0, 15.0] *", "12.0 [10.0, 14.9]"]
    assert "a tie of Q4_0 with 1 thread and Q8_0 with 1 thread: each range of smallest to largest overlaps" in text
    assert "fastest decode, as far as so few rounds show." in table(best, far)


def test_a_tie_of_many_names_some_and_counts_the_rest() -> None:
    text = table(*(summary(quant=f"Q{number}", n_threads=2, n_threads_batch=4) for number in range(8)))
    named = ", ".join(f"Q{number} with 2 / 4 threads" for number in range(4))
    assert f"a tie of {named} and 4 more: each" in text


def test_rounds_that_lie_far_out_are_named_and_counted_from_one() -> None:
    text = table(summary(prefill_outliers=(2,), decode_outliers=(0, 5)))
    assert (
        "- outliers (Q8_0, 1 thread): prefill of round 3 and decode of rounds 1, 6 beyond Tukey's fences; kept" in text
    )
    assert "outliers" not in table(summary())


def test_a_target_is_told_and_who_did_not_reach_it() -> None:
    near = {"prefill_tps_lo": 198.0, "prefill_tps_hi": 202.0, "decode_tps_lo": 19.8, "decode_tps_hi": 20.3}
    good = summary(target=0.015, **near)
    assert "measured until within ±1.5 % of the median" in table(good)
    wide = summary(target=0.015, quant="F16", **(near | {"decode_tps_hi": 20.5}))
    assert "±1.5 % of the median, which 1 of 2 cells did not reach;" in table(good, wide)
    assert "measured until" not in table(summary())


def test_a_single_cell_is_not_called_the_fastest() -> None:
    text = table(summary())
    assert "*" not in text
    assert "memory: peak resident size" in text


def test_a_cell_that_failed_is_not_called_the_fastest() -> None:
    broken = summary(quant="Q4_0", decode_tps=90.0, decode_tps_lo=90.0, decode_tps_hi=90.0, status="failed", error="?")
    assert "*" not in table(broken, summary())


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ((6, 6), "medians over 6 rounds of 3 repetitions [95 % interval; overlapping intervals are a tie]"),
        (
            (3, 3),
            "medians over 3 rounds of 3 repetitions [smallest and largest round, since an interval needs six rounds]",
        ),
        ((1, 1), "medians over 1 round of 3 repetitions [smallest"),
        ((6, 9), "medians over 6 to 9 rounds of 3 repetitions [95 % interval;"),
        (
            (2, 6),
            "medians over 2 to 6 rounds of 3 repetitions [95 % interval, or smallest and largest under six rounds;",
        ),
    ],
)
def test_the_caption_says_what_the_brackets_hold(rounds: tuple[int, int], words: str) -> None:
    assert words in table(*(summary(quant=f"Q{each}", rounds=count) for each, count in enumerate(rounds)))


def test_a_cell_without_rounds_does_not_change_the_caption() -> None:
    assert "over 6 rounds of 3 repetitions [95 %" in table(summary(), failed(quant="F16"))
    assert "medians over" not in table(failed())


def test_one_repetition_is_said_in_the_singular() -> None:
    assert "of 1 repetition [" in table(summary(reps=1))


def test_synthetic_weights_are_marked() -> None:
    text = table(summary(weights="synthetic", standin_for="smollm2-135m"))
    assert "## tiny (100.0M, SYNTHETIC weights in the shape of smollm2-135m), bench" in text
    assert "SYNTHETIC" in table(summary(weights="made up somehow"))
    assert "SYNTHETIC" not in table(summary())


def test_failed_and_skipped_cells_have_a_row_and_a_reason() -> None:
    text = table(
        summary(),
        failed(quant="F16", n_threads=1, error="the worker was killed"),
        failed(quant="F32", n_threads=2, status="skipped", error="needs about 9.0 GiB"),
    )
    assert column(text, "level") == ["Q8_0", "F16", "F32"]
    assert column(text, "decode t/s")[1:] == ["", ""]
    assert column(text, "flags") == ["", "FAILED", "SKIPPED"]
    assert "- F16 with 1 thread failed: the worker was killed" in text
    assert "- F32 with 2 threads skipped: needs about 9.0 GiB" in text


def test_a_flags_text_stands_under_the_table() -> None:
    cell = summary(flags=("noisy",), n_threads=2)
    text = table(cell, messages={f"{cell.cell_key}:{cell.env_id}:noisy": "rates lie 20% apart; close programs"})
    assert "- noisy (Q8_0, 2 threads): rates lie 20% apart; close programs" in text


def test_environments_models_and_loads_have_tables_of_their_own() -> None:
    other = environment(cpu_model="Other CPU")
    cells = [summary(), summary(env_id=other.id), summary(model="large"), request()]
    text = render(cells, {ENVIRONMENT.id: ENVIRONMENT, other.id: other})
    assert text.count("## ") == 4
    assert text.count("Other CPU") == 1


def test_an_environment_that_is_not_in_the_file_is_left_out() -> None:
    assert "llama.cpp" not in render([summary()], {})


def test_settings_that_differ_get_a_column() -> None:
    text = table(summary(), summary(flash_attn_asked="on", repack=False, cores=(2, 3), type_k="q8_0"))
    assert column(text, "fa") == ["auto", "on"]
    assert column(text, "repack") == ["on", "off"]
    assert column(text, "cores") == ["any", "2,3"]
    assert column(text, "K") == ["f16", "q8_0"]
    assert not {"context", "batch", "ubatch", "V", "load"} & set(rows(text)[0])
    assert not {"fa", "repack", "cores"} & set(rows(table(summary(), summary(quant="F16")))[0])
    assert column(table(summary(n_ubatch=1), summary(n_ubatch=2)), "ubatch") == ["1", "2"]


HOSTILE = [
    "a | b | c",
    "a \\| b",
    "`rm -rf`",
    "\x1b[31mred\x1b[0m",
    "\x9b2J",
    "bell\x07 back\x08 nul\x00",
    "two\nlines\r\n| three",
    "sep\u2028ara\u2029ted\x85.",
    "<script>alert(1)</script>",
    "![image](https://example.com/x.png)",
    "[link](javascript:x)",
    "**bold**",
    "right\u202eto left",
    "zero\u200bwidth",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_strangers_text_is_only_text(name: str) -> None:
    plain = table(summary(), summary(quant="F16", flags=("busy",)))
    board = environment(board=name, cpu_model=name, llama_commit=name, threading=name)
    message_of = {"model": name, "workload": name, "backend": name}
    cells = [
        summary(**message_of, env_id=board.id, weights="synthetic", standin_for=name),
        failed(**message_of, env_id=board.id, weights="synthetic", standin_for=name, quant=name, error=name),
    ]
    text = render(cells, {board.id: board}, {f"{cells[0].cell_key}:{board.id}:busy": name})
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    # The table has the bars and the lines of any table of two rows; nothing is markup.
    assert [len(row) for row in rows(text)] == [len(row) for row in rows(plain)]
    assert len(text.splitlines()) == len(plain.splitlines()) + 1  # the reason of the one that failed
    bare = re.sub(r"\\[\\|`<>*\[\]]", "", text)
    bare = re.sub(r"\[[\d., ]+\]|\[95 %[^\]]*\]", "", bare)
    assert not re.search(r"[`<>*\[\]]", bare)


def test_clean_keeps_every_letter_that_can_be_read() -> None:
    assert clean("SmolLM2-135M_v1.5 (größer) 模型") == "SmolLM2-135M_v1.5 (größer) 模型"
    assert clean(" a|b\\c `d` ") == "a\\|b\\\\c \\`d\\`"
    assert clean("\x1b[2J") == "\\[2J"
