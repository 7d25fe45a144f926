"""`slmprof doctor` on the machine that runs the tests: whatever it is, the description holds and nothing is changed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commandline import assert_one_line, environment, slmprof


def test_the_text_describes_the_device_within_80_columns(cache: Path) -> None:
    done = slmprof("doctor", cache=cache)
    assert done.status == 0, done.err
    assert done.err == ""
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    labels = [line.split()[0] for line in lines[: lines.index("")] if not line.startswith(" ")]
    assert [label for label in labels if label != "board"] == [
        "CPU", "cores", "memory", "system", "llama.cpp", "backends", "features", "threads", "energy", "bandwidth"
    ]  # fmt: skip
    assert "spoil a measurement" in done.out
    assert str(Path.home()) not in done.out


def test_the_object_says_the_same(cache: Path) -> None:
    found = json.loads(slmprof("doctor", "--json", cache=cache).out)
    assert list(found) == ["device", "build", "conditions", "findings", "energy", "ceilings"]
    device, build = found["device"], found["build"]
    assert device["cores_logical"] == os.cpu_count()
    assert sorted(cpu for kind in device["core_kinds"] for cpu in kind["cpus"]) == list(range(os.cpu_count() or 1))
    assert 0 < device["available_bytes"] <= device["memory_bytes"]
    assert device["default_threads"][0] == 1
    assert build["binding_version"] == "0.3.36"
    assert build["backends"]
    assert build["assertions"] is False  # the installation compiles a release
    assert found["conditions"]["load_1m"] is None or found["conditions"]["load_1m"] >= 0
    assert (found["energy"]["source"] is None) != (found["energy"]["reason"] is None)
    assert found["ceilings"] is None  # not measured yet
    for finding in found["findings"]:
        assert set(finding) == {"name", "severity", "fact", "effect", "advice", "command"}
        assert finding["severity"] in ("warning", "note")


def test_a_variable_that_rules_threads_is_found(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGML_SOMETHING", "1")
    done = slmprof("doctor", cache=cache)
    assert done.status == 0
    assert "GGML_SOMETHING=1 is set" in done.out
    assert "    unset GGML_SOMETHING\n" in done.out


def test_the_default_threads_are_those_of_profile(cache: Path, tmp_path: Path, tiny: Path) -> None:
    threads = json.loads(slmprof("doctor", "--json", cache=cache).out)["device"]["default_threads"]
    results = tmp_path / "results.jsonl"
    done = slmprof("profile", tiny, "-q", "Q8_0", "-p", "8", "-n", "0", "-r", "1", "--rounds", "1", "-o", results,
                   cache=cache)  # fmt: skip
    assert done.status == 0, done.err
    records = [json.loads(line) for line in results.read_text().splitlines()]
    measured = {record["cell"]["config"]["n_threads"] for record in records if record["type"] == "round"}
    assert sorted(measured) == threads
    # What doctor describes is what the results hold.
    env_id = json.loads(slmprof("doctor", "--json", cache=cache).out)["device"]["env_id"]
    assert {record["env_id"] for record in records if record["type"] == "round"} == {env_id}


def test_a_library_that_cannot_be_loaded_is_one_line(cache: Path, tmp_path: Path) -> None:
    broken = tmp_path / "llama_cpp"
    broken.mkdir()
    (broken / "__init__.py").touch()
    (broken / "llama_cpp.py").write_text("raise OSError('libgomp.so.1: cannot open shared object file')\n")
    variables = environment(cache)
    variables["PYTHONPATH"] += os.pathsep + str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "profiler", "doctor"], capture_output=True, text=True, env=variables, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "libgomp.so.1: cannot open shared object file" in done.stderr


def test_an_argument_that_it_does_not_take(cache: Path) -> None:
    assert_one_line(slmprof("doctor", "now", cache=cache), "now", "slmprof doctor --help")
