"""Task files of one's own, data that cannot be had, and what is refused."""

import json
from pathlib import Path

from profiler.results.file import read_results
from tests.support.checkpoints import TRAINED
from tests.support.commandline import assert_one_line, slmprof


def test_what_is_refused(cache: Path, tmp_path: Path) -> None:
    def ask(*options: object) -> tuple[str | Path, ...]:
        return ("tasks", TRAINED, "-q", "F16", *map(str, options), "-o", tmp_path / "results.jsonl")

    assert_one_line(slmprof(*ask("--tasks", "helaswag"), cache=cache), "'helaswag'", "hellaswag")
    assert_one_line(slmprof(*ask("--tasks", "humaneval"), cache=cache), "humaneval", "--execute-code")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "task.yaml").write_text("task: mine\nprocess_docs: !function utils.run\n")
    (folder / "utils.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert_one_line(slmprof(*ask("--tasks", "mine", "--include", folder), cache=cache), "!function", "--trust-include")
    assert not (tmp_path / "ran").exists()
    synthetic = slmprof("run", "smollm2-135m", "--weights", "synthetic", "--tasks", "offline", "-o", tmp_path / "x",
                        cache=cache)  # fmt: skip
    assert_one_line(synthetic, "synthetic", "real checkpoint")


def test_task_files_of_one_s_own_and_a_set_that_cannot_be_had(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = [{"q": f"Is {n} a number?", "c": ["yes", "no"], "a": 0} for n in range(8)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.yaml").write_text(
        "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n"
        "fewshot_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{q}}'\ndoc_to_choice: c\ndoc_to_target: a\n"
    )
    (folder / "reach.yaml").write_text(
        "task: reach\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n"
        "output_type: multiple_choice\ndoc_to_choice: c\ndoc_to_target: a\n"
        "doc_to_text: \"{{ ''.__class__.__mro__[1].__subclasses__() }}\"\n"
    )
    results = tmp_path / "results.jsonl"
    asked = ("--tasks", "mine,hellaswag,reach", "--include", folder, "--shots", "0,2", "--limit", "5")
    done = slmprof("tasks", TRAINED, "-q", "F16,Q2_K", *asked, "-t", "1", "-o", results, cache=cache)
    assert done.status == 1, done.err
    records = read_results([results]).tasks
    answered = {(record.task, record.n_shots) for record in records if record.status == "ok"}
    assert answered == {("mine", 0), ("mine", 2)}
    for record in records:
        if record.status == "ok":
            assert record.n_items == 5
            assert record.items is not None
            assert [len(each) for each in record.items.log_likelihoods] == [2] * 5
        else:
            assert record.error is not None
            assert record.error.kind == "data"
            assert str(cache) not in record.error.message
    failed = {record.task: record.error.message for record in records if record.error}
    assert "hellaswag" in failed
    assert "SecurityError" in failed["reach"] or "unsafe" in failed["reach"]
    assert "mine, acc_norm: 5 items, 2 examples" in done.out
