"""From options to cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.sweep.grid import Axes, default_threads, expand, read_sweep
from quant.base.errors import UserError
from quant.base.ints import parse_ints


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1,2,4", (1, 2, 4)), ("1-4", (1, 2, 3, 4)), ("4,1-2", (4, 1, 2)), (" 2 , 2 ", (2,)), ("0", (0,))],
)
def test_lists_and_ranges(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_ints(text, "-t") == numbers


@pytest.mark.parametrize("text", ["", "a", "1,", "4-1", "-1", "1.5", "1-999999", "99999999999"])
def test_a_list_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_ints(text, "-t")
    assert "\n" not in str(caught.value)


def test_zero_threads_are_refused() -> None:
    with pytest.raises(UserError, match="from 1 to 512, not 0"):
        parse_ints("0", "-t", least=1, most=512)


@pytest.mark.parametrize(
    ("cores", "threads"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))]
)
def test_default_threads_end_with_the_physical_cores(cores: int, threads: tuple[int, ...]) -> None:
    assert default_threads(cores) == threads


@given(st.integers(1, 512))
def test_default_threads_are_ascending_and_each_once(cores: int) -> None:
    threads = default_threads(cores)
    assert list(threads) == sorted(set(threads))
    assert threads[-1] == cores


def test_lists_are_crossed() -> None:
    cells = expand(Axes(threads=(1, 2), prompt=(8, 16), gen=(4,), fa=("on", "off")), ["f1", "f2"])
    assert len(cells) == 2 * 2 * 2 * 2
    assert len({cell.key for cell in cells}) == len(cells)


def test_zip_pairs_lists_and_stretches_single_values() -> None:
    axes = Axes(threads=(1, 2), threads_batch=(2, 4), prompt=(8,), gen=(4,))
    pairs = [(cell.config.n_threads, cell.config.n_threads_batch) for cell in expand(axes, ["f"], zipped=True)]
    assert pairs == [(1, 2), (2, 4)]


def test_zip_refuses_lists_of_other_lengths() -> None:
    with pytest.raises(UserError, match="prompt has 2"):
        expand(Axes(threads=(1, 2, 3), prompt=(8, 16)), ["f"], zipped=True)


def test_bench_is_separate_and_chat_a_request() -> None:
    bench, chat = (cell.config for cell in expand(Axes(threads=(1,), workload=("bench", "chat")), ["f"]))
    assert (bench.mode, bench.n_prompt, bench.n_gen, bench.n_ctx, bench.n_outputs_max) == ("separate", 512, 128, 512, 0)
    assert (chat.mode, chat.n_prompt, chat.n_gen, chat.n_ctx, chat.n_outputs_max) == ("request", 128, 128, 2048, 1)
    assert (bench.decode_depth, chat.decode_depth) == (0, 128)
    assert bench.n_threads_batch == 1
    assert not bench.swa_full


def test_room_for_outputs_is_an_axis_of_its_own(tmp_path) -> None:
    axes = Axes(threads=(1,), workload=("bench", "chat"), outputs_max=(0, 1))
    found = [(cell.config.mode, cell.config.n_outputs_max) for cell in expand(axes, ["f"])]
    assert found == [("separate", 0), ("separate", 1), ("request", 0), ("request", 1)]
    file = tmp_path / "sweep.toml"
    file.write_text("[[sweep]]\noutputs-max = [1, 8]\nrepack = [true, false]\n")
    (table,) = read_sweep(file, Axes(threads=(1,)))
    found = [(cell.config.repack, cell.config.n_outputs_max) for cell in expand(table, ["f"])]
    assert sorted(found) == [(False, 1), (False, 8), (True, 1), (True, 8)]


def test_counts_of_ones_own_fill_in_the_bench_ones() -> None:
    (cell,) = expand(Axes(threads=(1,), depth=(100,)), ["f"])
    assert (cell.config.workload, cell.config.n_prompt, cell.config.n_gen, cell.config.n_ctx) == (
        "custom",
        512,
        128,
        612,
    )


def test_a_context_that_is_too_small_is_refused() -> None:
    with pytest.raises(UserError, match="chat puts 256 tokens"):
        expand(Axes(threads=(1,), workload=("chat",), n_ctx=(255,)), ["f"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"workload": ("chatt",)}, "unknown workload 'chatt'"),
        ({"fa": ("maybe",)}, "unknown fa 'maybe'"),
        ({"ctk": ("q9",)}, "unknown ctk 'q9'"),
        ({"load_mode": ("fast",)}, "unknown load_mode"),
        ({"device": ("tpu",)}, "unknown device"),
        ({"prompt": (0,), "gen": (0,)}, "measures nothing"),
        ({"threads": (0,)}, "threads must be from 1"),
        ({"outputs_max": (-1,)}, "outputs_max must be from 0"),
    ],
)
def test_wrong_values_name_themselves(change: dict[str, tuple[str, ...]], words: str) -> None:
    with pytest.raises(UserError, match=words):
        expand(Axes(**({"threads": (1,)} | change)), ["f"])


def test_the_key_is_of_exactly_the_cell() -> None:
    one, other = expand(Axes(threads=(1, 2)), ["f"])
    again, _ = expand(Axes(threads=(1, 2)), ["f"])
    assert one.key == again.key != other.key
    assert len(one.key) == 16


def test_a_sweep_file_replaces_lists(tmp_path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('[[sweep]]\nthreads = [1, 2]\nfa = ["on", "off"]\n\n[[sweep]]\nload-mode = "none"\n')
    first, second = read_sweep(file, Axes(threads=(4,)))
    assert (first.threads, first.fa, first.load_mode) == ((1, 2), ("on", "off"), ("auto",))
    assert (second.threads, second.load_mode) == ((4,), ("none",))


def test_a_table_s_workload_takes_the_command_line_s_token_counts_away(tmp_path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('[[sweep]]\nworkload = "Chat"\n[[sweep]]\ndepth = [64]\n')
    chat, deep = read_sweep(file, Axes(threads=(1,), prompt=(32,), gen=(8,)))
    (cell,) = expand(chat, ["a" * 64])
    assert (cell.config.workload, cell.config.n_prompt, cell.config.n_gen) == ("chat", 128, 128)
    (cell,) = expand(deep, ["a" * 64])
    assert (cell.config.workload, cell.config.n_prompt, cell.config.n_gen, cell.config.n_depth) == ("custom", 32, 8, 64)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        "[[sweep]]\nthread = 1",
        "[[sweep]]\nthreads = 'two'",
        "[[sweep]\n",
        "[[sweep]]\nworkload = 'chat'\ngen = 4",
    ],
)
def test_a_wrong_sweep_file_is_one_line(tmp_path, text: str) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_sweep(file, Axes(threads=(1,)))
    assert "\n" not in str(caught.value)
