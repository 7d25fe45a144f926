"""What is installed: the wheel, built from a copy of the sources without the network, and used without them."""

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from profiler import __version__
from profiler.measure.workloads import WORKLOADS
from profiler.tasks.sets import OFFLINE_FOLDER
from tests.support.paths import ROOT

PACKAGES = ("plots", "profiler", "quant")
FACTS = f"slmprof-{__version__}.dist-info"

pytest.importorskip("hatchling", reason="the wheel is built by hatchling, which pip install -e '.[dev]' brings")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "models.toml", ".gitignore"):
        shutil.copy(ROOT / name, tree)
    for name in (*PACKAGES, "models.d", "tests"):
        shutil.copytree(ROOT / name, tree / name)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--quiet",
         "--disable-pip-version-check", "--wheel-dir", folder, tree],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / f"slmprof-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    """The wheel's files where an installation puts them."""
    folder = wheel.parent / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


# Its first argument is the folder: the checkout that this test stands in is not on the path.
HERE = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import profiler
assert profiler.__file__.startswith(sys.path[0])
"""


def python(code: str, site: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-I", "-c", HERE + code, str(site), *words],
        cwd=site.parent,
        capture_output=True,
        check=False,
        timeout=60,
    )


def run(site: Path, *words: str) -> list[str]:
    done = python("from profiler.__main__ import main; main()", site, *words)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().splitlines()


def test_it_holds_the_three_packages_and_their_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.startswith(f"{FACTS}/")}
    sources = {path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    texts = {f"profiler/measure/workloads/{each.text}" for each in WORKLOADS.values() if each.text}
    page = {f"plots/report/page.{form}" for form in ("html", "css", "js")}
    data = {
        "quant/models.toml",
        *(f"quant/models.d/{path.name}" for path in (ROOT / "models.d").iterdir()),
        "quant/convert/verify/probe.json",
        "plots/charts/edge_reference.csv",
        "plots/charts/pi5_levels.csv",
        "plots/survey/page.html",
        *(f"plots/survey/published/{name}.csv" for name in ("latency", "levels", "memory", "operators")),
        "profiler/measure/workloads/corpus.txt",
        *(f"profiler/tasks/offline/{path.name}" for path in OFFLINE_FOLDER.iterdir()),
    }
    assert found == sources | texts | page | data


def test_the_registry_in_it_is_the_one_at_the_top(site: Path) -> None:
    for name in ("models.toml", *(f"models.d/{path.name}" for path in (ROOT / "models.d").iterdir())):
        assert (site / "quant" / name).read_bytes() == (ROOT / name).read_bytes()


def test_its_facts(site: Path) -> None:
    facts = Parser().parsestr((site / FACTS / "METADATA").read_text(encoding="utf-8"))
    assert (facts["Name"], facts["Version"], facts["Requires-Python"]) == ("slmprof", __version__, "<3.14,>=3.11")
    assert facts["License-Expression"] == "MIT"
    needed = [line for line in facts.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {"gguf==0.19.0", "llama-cpp-python==0.3.36"} <= set(needed)
    assert [line for line in needed if line.startswith(("torch", "transformers", "hatchling", "pytest"))] == []
    assert (site / FACTS / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_it_brings_one_command(site: Path) -> None:
    lines = (site / FACTS / "entry_points.txt").read_text(encoding="utf-8").split("\n")
    assert [line for line in lines if line] == ["[console_scripts]", "slmprof = profiler.__main__:main"]


def test_it_runs_without_the_sources(site: Path) -> None:
    assert run(site, "--version") == [f"slmprof, version {__version__}"]
    assert any(line.startswith("smollm2-135m ") for line in run(site, "models", "--max-params", "140M"))


def test_its_workloads_have_their_texts(site: Path) -> None:
    code = "from profiler.measure.workloads import read_text; sys.stdout.buffer.write(read_text(sys.argv[1]).encode())"
    done = python(code, site, "chat")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (ROOT / "profiler" / "measure" / "workloads" / "chat.txt").read_bytes()
