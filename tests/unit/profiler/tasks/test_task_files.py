"""Task files of --include: what runs code, leaves its folder or is no task file is refused."""

from pathlib import Path

import pytest

from profiler.tasks.task_files import check_folder, with_absolute_data
from quant.base.errors import UserError

GOOD = """
task: mine
dataset_path: json
dataset_kwargs:
  data_files: {test: data.jsonl}
test_split: test
doc_to_text: "{{question}}"
metric_list: [{metric: acc}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "tasks"
    (found / "inner").mkdir(parents=True)
    return found


def test_plain_task_files_pass(folder: Path) -> None:
    (folder / "inner" / "good.yaml").write_text(GOOD)
    check_folder(folder)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("process_docs: !function utils.run", "!function"),
        ("metric_list: [{metric: !function utils.run}]", "!function"),
        ("x: !!python/object/apply:os.system ['true']", "python"),
        ("class: Task", "class"),
        ("metric_list: [{metric: m, hf_evaluate: true}]", "hf_evaluate"),
        ("use_prompt: promptsource:x", "use_prompt"),
        ("include: ../../other.yaml", "outside"),
        ("include: [/etc/passwd]", "outside"),
        ("dataset_kwargs: {data_files: {test: ../../secret.jsonl}}", "outside"),
        ("dataset_kwargs: {data_files: [https://example.org/x.jsonl]}", "outside"),
        ("dataset_kwargs: {data_dir: ~/data}", "outside"),
        ("dataset_path: /home", "outside"),
        ("a: &a [x]\nb: *a", "aliases"),
        ("[" * 2000, "no task file"),
        ("a: [", "no task file"),
        ("a: \x00", "no task file"),
    ],
)
def test_others_are_refused(folder: Path, text: str, word: str) -> None:
    (folder / "inner" / "bad.yaml").write_text(f"task: mine\n{text}\n" if not text.startswith("[") else text)
    with pytest.raises(UserError, match="bad") as error:
        check_folder(folder)
    assert word in str(error.value)


def test_a_link_out_of_the_folder_is_outside(folder: Path) -> None:
    (folder.parent / "secret.jsonl").write_text("{}")
    (folder / "data.jsonl").symlink_to(folder.parent / "secret.jsonl")
    (folder / "task.yaml").write_text(GOOD)
    with pytest.raises(UserError, match="outside"):
        check_folder(folder)


def test_a_folder_without_task_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task files"):
        check_folder(tmp_path)
    with pytest.raises(UserError, match="no task files"):
        check_folder(tmp_path / "missing")


def test_data_files_are_relative_to_their_task_file(tmp_path: Path) -> None:
    config = {"task": "mine", "dataset_kwargs": {"data_files": {"test": ["a.jsonl", "b.jsonl"]}, "split": "x"}}
    found = with_absolute_data(config, tmp_path)
    assert found["dataset_kwargs"] == {
        "data_files": {"test": [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]},
        "split": "x",
    }
    assert with_absolute_data({"task": "mine"}, tmp_path) == {"task": "mine"}
